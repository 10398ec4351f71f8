//! Records in JSON Lines, for files that are read whole, or that a run appends to and may leave at any byte.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PreferencesError;
use crate::file::{self, AtFile};
use crate::lock;
use crate::output;

/// Maximum number of bytes of a line. Two long replies need a hundredth of it.
const MAX_LINE: usize = 16 << 20;

/// A value that is written on one line. It holds everything that is needed to read it, so the order of the
/// lines has no meaning and no other file is needed.
pub trait Record: Serialize + DeserializeOwned {
    /// How the line of every such record begins. By it, half a line at the end of a file is known as ours.
    const START: &str = "{\"id\":";

    /// Name of the record, unique in its file.
    fn id(&self) -> &str;

    /// `Ok` if the record is valid.
    ///
    /// # Errors
    ///
    /// The fault of the record.
    fn check(&self) -> Result<(), String>;
}

/// Reads all records of a file. Blank lines are skipped.
///
/// # Errors
///
/// * [`PreferencesError::Io`] if it cannot be read.
/// * [`PreferencesError::Row`] for the first line that is no record, is longer than 16 MiB, or has the id of
///   an earlier one.
pub fn read_records<T: Record>(path: &Path) -> Result<Vec<T>, PreferencesError> {
    Ok(read_numbered(path)?.into_iter().map(|(_, record)| record).collect())
}

/// Reads all records of a file with the line of each, counted from 1, for messages.
///
/// # Errors
///
/// As [`read_records`].
pub fn read_numbered<T: Record>(path: &Path) -> Result<Vec<(usize, T)>, PreferencesError> {
    let file = File::open(path).map_err(PreferencesError::io("read", path))?;
    numbered(scan(path, &file)?)
}

/// Parses the contents of a file as [`read_numbered`] does, for callers that also need its hash.
///
/// # Errors
///
/// [`PreferencesError::Row`] as [`read_records`].
pub(crate) fn parse_numbered<T: Record>(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<(usize, T)>, PreferencesError> {
    numbered(scan(path, bytes)?)
}

fn numbered<T: Record>(found: Found<T>) -> Result<Vec<(usize, T)>, PreferencesError> {
    match found.half {
        Some((_, fault)) => Err(fault),
        None => {
            let line = |record: T| (found.lines[record.id()], record);
            Ok(found.records.into_iter().map(line).collect())
        }
    }
}

/// `Ok` if all records in memory are valid and their ids differ, as [`read_records`] checks for a file.
///
/// # Errors
///
/// [`PreferencesError::Record`] for the first that does not.
pub fn check_records<T: Record>(records: &[T]) -> Result<(), PreferencesError> {
    let mut seen = HashSet::new();
    for record in records {
        let refused = |reason: String| PreferencesError::Record { id: record.id().to_owned(), reason };
        record.check().map_err(refused)?;
        if !seen.insert(record.id()) {
            return Err(refused("an earlier record has this id".to_owned()));
        }
    }
    Ok(())
}

/// A file of records that grows by one whole record at a time.
///
/// Opening it again returns its records and appends after them. A process that is killed leaves at most one
/// incomplete line, at the end and without a line break, which opening cuts off if it begins as a record. Any
/// other broken line is an error, because this program does not write one. Then nothing is changed.
#[derive(Debug)]
pub struct RecordLog<T> {
    path: PathBuf,
    file: File,
    /// Length of the complete records, in bytes.
    length: u64,
    /// Line of each id.
    lines: HashMap<String, usize>,
    last_line: usize,
    kind: PhantomData<T>,
}

impl<T: Record> RecordLog<T> {
    /// Opens a file, or creates an empty one, and reads its records.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Io`] if it cannot be read or created.
    /// * [`PreferencesError::Busy`] if another process has opened it this way, on systems that can detect it.
    /// * [`PreferencesError::Row`] as [`read_records`], except for an incomplete line at the end.
    pub fn open(path: &Path) -> Result<(RecordLog<T>, Vec<T>), PreferencesError> {
        RecordLog::open_if(path, |_| Ok(()))
    }

    /// The same if `check` accepts the file, before anything in it is changed. It gets the length of the file in
    /// bytes. Meanwhile no other run can open the file.
    ///
    /// # Errors
    ///
    /// Those of [`RecordLog::open`] and of `check`.
    pub(crate) fn open_if<E: From<PreferencesError>>(
        path: &Path,
        check: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<(RecordLog<T>, Vec<T>), E> {
        let mut options = OpenOptions::new();
        // Not opened for appending only, because Windows cannot shorten such a file.
        let file = lock::open_for_one(options.read(true).write(true).create(true).truncate(false), path);
        let file = file.map_err(PreferencesError::io("open", path))?;
        let mut file = file.ok_or_else(|| PreferencesError::Busy { path: path.to_owned() })?;
        let found = file.metadata().map_err(PreferencesError::io("read", path))?;
        if !found.is_file() {
            let reason = output::refused("it is not a file; choose another path");
            return Err(PreferencesError::io("write to", path)(reason).into());
        }
        check(found.len())?;
        let mut found = scan::<T>(path, &file)?;
        if let Some((start, fault)) = found.half.take()
            && !(start.starts_with(T::START.as_bytes()) || T::START.as_bytes().starts_with(&start))
        {
            return Err(fault.into());
        }
        cut(&mut file, found.length).map_err(PreferencesError::io("cut", path))?;
        let mut log = RecordLog {
            path: path.to_owned(),
            file,
            length: found.length,
            lines: found.lines,
            last_line: found.last_line,
            kind: PhantomData,
        };
        if found.open_end {
            // The last record is complete except for its line break.
            log.write(b"\n")?;
        }
        Ok((log, found.records))
    }

    /// Whether there is a record with this id.
    pub fn contains(&self, id: &str) -> bool {
        self.lines.contains_key(id)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Appends a record. Once this returns, the record outlives the process.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Record`] if it is not valid, or another record has its id. Nothing is written.
    /// * [`PreferencesError::Io`] if it cannot be written. An incomplete record is cut off again.
    pub fn append(&mut self, record: &T) -> Result<(), PreferencesError> {
        let refused = |reason: String| PreferencesError::Record { id: record.id().to_owned(), reason };
        record.check().map_err(refused)?;
        if let Some(line) = self.lines.get(record.id()) {
            return Err(refused(format!("line {line} of {} already has this id", self.path.display())));
        }
        let mut line = serde_json::to_vec(record).map_err(|error| refused(error.to_string()))?;
        line.push(b'\n');
        self.write(&line)?;
        self.last_line += 1;
        self.lines.insert(record.id().to_owned(), self.last_line);
        Ok(())
    }

    /// Writes all of `bytes` or nothing.
    fn write(&mut self, bytes: &[u8]) -> Result<(), PreferencesError> {
        let written = self.file.write_all(bytes);
        if written.is_err() {
            // If this fails too, the next `open` cuts the file.
            let _ = cut(&mut self.file, self.length);
        }
        written.map_err(PreferencesError::io("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Cuts `file` to `length` bytes and moves to its end.
fn cut(file: &mut File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

/// Contents of a file.
struct Found<T> {
    records: Vec<T>,
    lines: HashMap<String, usize>,
    last_line: usize,
    /// Number of bytes up to the end of the last complete record.
    length: u64,
    /// Whether the last record lacks its line break.
    open_end: bool,
    /// The text after the last line break with its fault, if it is no record.
    half: Option<(Vec<u8>, PreferencesError)>,
}

fn scan<T: Record>(path: &Path, input: impl Read) -> Result<Found<T>, PreferencesError> {
    let mut reader = BufReader::with_capacity(1 << 16, input);
    let mut found = Found {
        records: Vec::new(),
        lines: HashMap::new(),
        last_line: 0,
        length: 0,
        open_end: false,
        half: None,
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let read = (&mut reader).take(file::most_bytes(MAX_LINE)).read_until(b'\n', &mut buffer);
        let read = match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(PreferencesError::io("read", path))?,
        };
        if read == 0 {
            return Ok(found);
        }
        let line = found.last_line + 1;
        if file::without_line_end(&buffer).len() > MAX_LINE {
            return Err(PreferencesError::row(
                path,
                line,
                format!("it is longer than {} MiB", MAX_LINE >> 20),
            ));
        }
        let whole = buffer.ends_with(b"\n");
        if buffer.trim_ascii().is_empty() && whole {
            found.last_line = line;
            found.length += read as u64;
            continue;
        }
        let record: T = match parse(&buffer) {
            Ok(record) => record,
            Err(reason) if whole => return Err(PreferencesError::row(path, line, reason)),
            Err(reason) => {
                found.half = Some((buffer, PreferencesError::row(path, line, reason)));
                return Ok(found);
            }
        };
        if let Some(earlier) = found.lines.insert(record.id().to_owned(), line) {
            let reason = format!("the id `{}` is already used on line {earlier}", record.id());
            return Err(PreferencesError::row(path, line, reason));
        }
        found.records.push(record);
        found.last_line = line;
        found.length += read as u64;
        found.open_end = !whole;
    }
}

fn parse<T: Record>(line: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("byte {} is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1))?;
    let record: T = serde_json::from_str(text.trim_start_matches('\u{FEFF}')).map_err(|error| {
        // serde ends its messages with " at line 1 column 9": the line is always 1 here.
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        format!("{reason} (column {})", error.column())
    })?;
    record.check()?;
    Ok(record)
}
