//! Metrics as JSON Lines: one record per line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Metrics, MetricsLog};
use crate::atomic;
use crate::file::{self, AtFile};
use crate::train::TrainError;

/// Bytes of the longest record of a step.
const MAX_RECORD: u64 = 1 << 20;

/// An append-only file of records `{"step": 12, "train/loss": 2.31, ...}`.
///
/// NaN and infinite numbers are written as `null`, because JSON cannot represent them.
#[derive(Debug)]
pub struct JsonlLog {
    path: PathBuf,
    file: File,
}

impl JsonlLog {
    /// Creates a new log.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if the file cannot be created, or exists already, because metrics are not
    /// overwritten.
    pub fn create(path: &Path) -> Result<JsonlLog, TrainError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        Ok(JsonlLog { path: path.to_owned(), file: file.map_err(TrainError::io("create", path))? })
    }

    /// Opens the log of a run that resumes after `step`, or creates a new one. Records of later steps are cut
    /// off, and so is a line that a crash left incomplete. Then the file is as it was at that step.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Io`] if the file cannot be read or written.
    /// * [`TrainError::Row`] if a line to cut off comes before records to keep.
    pub fn resume(path: &Path, step: u64) -> Result<JsonlLog, TrainError> {
        match File::open(path) {
            Ok(file) => {
                let length = file.metadata().map_err(TrainError::io("read", path))?.len();
                let keep = kept_bytes(path, BufReader::new(&file), step)?;
                if keep < length {
                    let rest = || File::open(path).map(|file| file.take(keep));
                    atomic::write(path, |out| io::copy(&mut rest()?, out).map(drop))
                        .map_err(TrainError::io("write", path))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(TrainError::io("read", path)(source)),
        }
        let file = OpenOptions::new().append(true).create(true).open(path);
        Ok(JsonlLog { path: path.to_owned(), file: file.map_err(TrainError::io("write", path))? })
    }
}

/// The last record of the log at `path`. `None` if there is no log, or the last line is no record.
///
/// # Errors
///
/// [`TrainError::Io`] if the file cannot be read.
pub(crate) fn last_record(
    path: &Path,
) -> Result<Option<serde_json::Map<String, serde_json::Value>>, TrainError> {
    match end_of(path) {
        Ok(end) => {
            let last = file::without_line_end(&end).rsplit(|byte| *byte == b'\n').next();
            Ok(last.and_then(|line| serde_json::from_slice(line).ok()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TrainError::io("read", path)(source)),
    }
}

/// The last bytes of a file, up to [`MAX_RECORD`].
fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_RECORD)))?;
    let mut end = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut end)?;
    Ok(end)
}

impl MetricsLog for JsonlLog {
    fn write(&mut self, metrics: &dyn Metrics) -> Result<(), TrainError> {
        let mut record = serde_json::Map::new();
        record.insert("step".to_owned(), metrics.step().into());
        for (tag, value) in metrics.tags() {
            record.insert(tag.to_owned(), value.into());
        }
        let mut line = serde_json::Value::Object(record).to_string();
        line.push('\n');
        // In one call, so that a reader sees only whole records, except after a crash during this call.
        self.file.write_all(line.as_bytes()).map_err(TrainError::io("write", &self.path))
    }

    fn sync(&mut self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(TrainError::io("write", &self.path))
    }
}

/// The part of a record that decides whether it is kept.
#[derive(Deserialize)]
struct Record {
    step: u64,
}

/// Number of bytes up to the end of the last record that is not later than `step`.
fn kept_bytes(path: &Path, mut reader: impl BufRead, step: u64) -> Result<u64, TrainError> {
    let (mut at, mut keep, mut line) = (0, 0, 0);
    let mut cut = None;
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text).map_err(TrainError::io("read", path))?;
        if read == 0 {
            return Ok(keep);
        }
        (at, line) = (at + read as u64, line + 1);
        let record = text.strip_suffix(b"\n").and_then(|text| serde_json::from_slice::<Record>(text).ok());
        let stays = record.is_some_and(|record| record.step <= step);
        match cut {
            None if stays => keep = at,
            None => cut = Some(line),
            Some(line) if stays => {
                let reason = format!(
                    "the line is no record of a step up to {step}, but such records follow it; repair the log, \
                     or move it away to start a new one"
                );
                return Err(TrainError::row(path, line, reason));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_needs_only_the_end_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        assert_eq!(last_record(&path).expect("no log"), None);
        let step = |text: &[u8]| {
            std::fs::write(&path, text).expect("written");
            last_record(&path).expect("readable").map(|record| record["step"].clone())
        };
        assert_eq!(step(b"{\"step\": 1}\n{\"step\": 2}\n"), Some(2.into()));
        assert_eq!(step(b"{\"step\": 3}"), Some(3.into()));
        assert_eq!(step(b"{\"step\": 1}\nhalf a rec"), None);
        // Its last bytes would be no text.
        let long = [vec![0xFF; 3 * MAX_RECORD as usize], b"\n{\"step\": 4}\n".to_vec()].concat();
        assert_eq!(step(&long), Some(4.into()));
    }
}
