//! The file of a run, `NAME.run.jsonl` beside its folder: its request, and then its events. A later server lists the run
//! from it, and can resume it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::events::KINDS;
use crate::lock;

/// What the name of such a file ends with.
const ENDING: &str = ".run.jsonl";
/// Bytes of the largest file that is read: half a million steps.
const MAX_BYTES: u64 = 1 << 28;

/// The first line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Version of the format, 1.
    pub parr_run: u32,
    pub kind: String,
    pub name: String,
    /// The request that started the run.
    pub request: Map<String, Value>,
}

/// What a file holds.
pub(super) struct Recorded {
    pub header: Header,
    pub events: Vec<(&'static str, Value)>,
    pub log: RunLog,
}

/// An open file of a run. No other process writes to it.
pub(super) struct RunLog {
    path: PathBuf,
    /// `None` after an error.
    file: Mutex<Option<File>>,
}

impl RunLog {
    /// Begins the file of a run in `folder`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] if there is one, and every failure to create or write.
    pub fn create(folder: &Path, header: &Header) -> io::Result<RunLog> {
        fs::create_dir_all(folder)?;
        let path = path_of(folder, &header.name);
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        lock::claim(&file);
        if let Err(error) = write_line(&mut file, &json!(header)) {
            drop(file);
            // The error that matters is the first.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(RunLog { path, file: Mutex::new(Some(file)) })
    }

    /// Appends an event. A full disk ends the file, and the run continues.
    pub fn append(&self, name: &str, value: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *file else { return };
        if let Err(error) = write_line(open, &json!({ "event": name, "value": value })) {
            tracing::warn!("{}: {error}; later events of this run are not kept", self.path.display());
            *file = None;
        }
    }

    /// Closes the file, so that another server can have the run.
    pub fn close(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes the file of a run that was never begun.
    pub fn remove(&self) {
        // A run without a folder is listed as failed by the next server, which is true as well.
        let _ = fs::remove_file(&self.path);
    }

    /// Reads the file of a run, and claims it.
    ///
    /// # Errors
    ///
    /// What is wrong with the file. [`ErrorKind::WouldBlock`] if another process has the run.
    pub fn read(path: &Path) -> io::Result<Recorded> {
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        if !lock::claim(&file) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut reader = BufReader::new(&file).take(MAX_BYTES);
        let (mut header, mut events, mut line, mut number) = (None, Vec::new(), Vec::new(), 0);
        let mut whole = true;
        while whole {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            // The last line may have been cut off by a crash.
            whole = line.ends_with(b"\n");
            if !whole {
                break;
            }
            let wrong =
                |reason: String| io::Error::new(ErrorKind::InvalidData, format!("line {number}: {reason}"));
            if header.is_none() {
                let read: Header = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
                if read.parr_run != 1 || path_of(Path::new(""), &read.name).file_name() != path.file_name() {
                    return Err(wrong("it is not the file of this run, or of a later version".to_owned()));
                }
                header = Some(read);
                continue;
            }
            let event: Event = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
            let kind = KINDS.iter().find(|kind| **kind == event.event);
            events.push((*kind.ok_or_else(|| wrong(format!("no event {:?}", event.event)))?, event.value));
        }
        let header = header.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "it is empty"))?;
        let log = RunLog { path: path.to_owned(), file: Mutex::new(Some(file)) };
        if !whole {
            // The next event begins a line of its own.
            let file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = &*file {
                let kept = file.metadata()?.len() - line.len() as u64;
                file.set_len(kept)?;
            }
        }
        Ok(Recorded { header, events, log })
    }
}

#[derive(Deserialize)]
struct Event {
    event: String,
    value: Value,
}

/// The path of the file of the run `name`.
pub(super) fn path_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{ENDING}"))
}

/// The paths of all such files in `folder`, sorted.
pub(super) fn all_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING));
    let mut paths: Vec<PathBuf> = entries.filter(|path| named(path) && path.is_file()).collect();
    paths.sort();
    paths
}

/// Writes a line in one call, so that a crash leaves it whole or cut off, never mixed.
fn write_line(file: &mut File, value: &Value) -> io::Result<()> {
    let mut line = value.to_string();
    line.push('\n');
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Header {
        let request = json!({ "kind": "sft", "steps": 3 });
        Header {
            parr_run: 1,
            kind: "sft".to_owned(),
            name: name.to_owned(),
            request: request.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let log = RunLog::create(&runs, &header("one")).unwrap();
        log.append("step", &json!({ "step": 1 }));
        let path = path_of(&runs, "one");
        assert_eq!(RunLog::read(&path).map(|_| ()).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(log);
        let whole = fs::read(&path).unwrap();
        for cut in 0..12 {
            let half = [&whole[..], &b"{\"event\":\"status\",\"value\":{}"[..cut]].concat();
            fs::write(&path, half).unwrap();
            let read = RunLog::read(&path).unwrap();
            assert_eq!((&read.header, &read.events), (&header("one"), &vec![("step", json!({ "step": 1 }))]));
            read.log.append("note", &json!({}));
            drop(read);
            assert_eq!(RunLog::read(&path).unwrap().events.len(), 2);
        }
        assert_eq!(all_in(&runs), [path]);
    }

    #[test]
    fn files_of_other_kinds_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_of(folder.path(), "two");
        let other = json!(header("three")).to_string();
        let newer = json!(Header { parr_run: 2, ..header("two") }).to_string();
        let wrong = json!(header("two")).to_string() + "\n{\"event\":\"mark\",\"value\":1}";
        for text in ["", "{}", "[1]", "\u{0}", &other, &newer, &wrong] {
            fs::write(&path, format!("{text}\n")).unwrap();
            assert!(RunLog::read(&path).is_err(), "{text}");
        }
        assert!(RunLog::create(folder.path(), &header("two")).is_err(), "it exists");
    }
}
