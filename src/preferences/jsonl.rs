//! Records in JSON Lines: read whole, or appended to by a run that may be stopped at any byte.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PreferencesError;
use crate::file::AtFile;
use crate::lock;

/// Bytes a line may have; two long replies have a hundredth of it.
const MAX_LINE: usize = 16 << 20;

/// Something that is written on one line and says itself what it belongs to, so that no order of lines
/// and no other file is needed to read it.
pub trait Record: Serialize + DeserializeOwned {
    /// The name that no other record of the file has.
    fn id(&self) -> &str;

    /// `Ok` if the record makes sense.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn check(&self) -> Result<(), String>;
}

/// Reads all records of a file; blank lines are skipped.
///
/// # Errors
///
/// * [`PreferencesError::Io`] if it cannot be read.
/// * [`PreferencesError::Row`] for the first line that is no record, is longer than 16 MiB, or has the id of an
///   earlier one.
pub fn read_records<T: Record>(path: &Path) -> Result<Vec<T>, PreferencesError> {
    Ok(read_numbered(path)?.into_iter().map(|(_, record)| record).collect())
}

/// The same with the line of each, counted from 1, for messages.
///
/// # Errors
///
/// As [`read_records`].
pub fn read_numbered<T: Record>(path: &Path) -> Result<Vec<(usize, T)>, PreferencesError> {
    let file = File::open(path).map_err(PreferencesError::io("read", path))?;
    numbered(scan(path, &file)?)
}

/// The same of the contents of the file, for those that also need its hash.
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
        Some(fault) => Err(fault),
        None => {
            let line = |record: T| (found.lines[record.id()], record);
            Ok(found.records.into_iter().map(line).collect())
        }
    }
}

/// `Ok` if all records in memory make sense, and each has an id of its own: what [`read_records`] checks of a file.
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

/// A file of records that grows, one whole record at a time.
///
/// Whoever opens it again gets what is there and goes on behind it. A process that is killed leaves at most
/// one half line, at the end and without a line break; opening cuts it off. A broken line anywhere else is
/// an error: it was not this program, and nothing is thrown away.
#[derive(Debug)]
pub struct RecordLog<T> {
    path: PathBuf,
    file: File,
    /// Bytes of the whole records.
    length: u64,
    /// The line of each id.
    lines: HashMap<String, usize>,
    last_line: usize,
    kind: PhantomData<T>,
}

impl<T: Record> RecordLog<T> {
    /// Opens a file, or makes an empty one, and reads what is in it.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Io`] if it cannot be read or made.
    /// * [`PreferencesError::Busy`] if another process has it open so, where the system can tell.
    /// * [`PreferencesError::Row`] as [`read_records`], but for half a line at the end.
    pub fn open(path: &Path) -> Result<(RecordLog<T>, Vec<T>), PreferencesError> {
        let mut options = OpenOptions::new();
        // Not for appending alone: Windows would not let such a file be cut.
        let file = lock::open_for_one(options.read(true).write(true).create(true).truncate(false), path);
        let file = file.map_err(PreferencesError::io("open", path))?;
        let mut file = file.ok_or_else(|| PreferencesError::Busy { path: path.to_owned() })?;
        let found = scan::<T>(path, &file)?;
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
            // Whole, but for its line break.
            log.write(b"\n")?;
        }
        Ok((log, found.records))
    }

    /// Whether there is a record of this name.
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

    /// Writes a record behind the others; once this returns it outlives the process.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Record`] if it makes no sense, or there is one of its name. Nothing is written.
    /// * [`PreferencesError::Io`] if it cannot be written. What was written of it is cut off again.
    pub fn append(&mut self, record: &T) -> Result<(), PreferencesError> {
        let refused = |reason: String| PreferencesError::Record { id: record.id().to_owned(), reason };
        record.check().map_err(refused)?;
        if let Some(line) = self.lines.get(record.id()) {
            return Err(refused(format!("it is on line {line} of {} already", self.path.display())));
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
            // Should this fail too, the next one to open the file cuts it.
            let _ = cut(&mut self.file, self.length);
        }
        written.map_err(PreferencesError::io("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Cuts `file` to `length` bytes, and goes to its end.
fn cut(file: &mut File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

/// What a file holds.
struct Found<T> {
    records: Vec<T>,
    lines: HashMap<String, usize>,
    last_line: usize,
    /// Bytes up to the end of the last whole record.
    length: u64,
    /// Whether the last record lacks its line break.
    open_end: bool,
    /// Why what stands behind the last line break is no record, if anything does.
    half: Option<PreferencesError>,
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
        let read = (&mut reader).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut buffer);
        let read = match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(PreferencesError::io("read", path))?,
        };
        if read == 0 {
            return Ok(found);
        }
        let line = found.last_line + 1;
        if buffer.len() > MAX_LINE {
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
                found.half = Some(PreferencesError::row(path, line, reason));
                return Ok(found);
            }
        };
        if let Some(earlier) = found.lines.insert(record.id().to_owned(), line) {
            let reason = format!("its id `{}` is that of line {earlier}", record.id());
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
