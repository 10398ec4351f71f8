//! Metrics as TensorBoard event files.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::{What, record};
use super::{Metrics, MetricsLog};
use crate::file::AtFile;
use crate::train::TrainError;

/// Start of the name of every event file.
const PREFIX: &str = "events.out.tfevents.";

/// An event file in a folder that TensorBoard watches.
///
/// A resumed run starts a new file. Its first record marks later steps in earlier files as not valid. Earlier
/// files are not changed.
#[derive(Debug)]
pub struct TensorBoardLog {
    path: PathBuf,
    file: File,
}

impl TensorBoardLog {
    /// Creates the event file of a new run in `folder`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it cannot be created.
    pub fn create(folder: &Path) -> Result<TensorBoardLog, TrainError> {
        TensorBoardLog::start(folder, None)
    }

    /// Creates the event file of a run that resumes after `step`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it cannot be created.
    pub fn resume(folder: &Path, step: u64) -> Result<TensorBoardLog, TrainError> {
        TensorBoardLog::start(folder, Some(step + 1))
    }

    fn start(folder: &Path, purge_step: Option<u64>) -> Result<TensorBoardLog, TrainError> {
        fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
        // Readers sort the files by name, and a clock may stop or be set back.
        let newest = newest(folder).map_err(TrainError::io("read", folder))?;
        let seconds = (now() as u64).max(newest.map_or(0, |newest| newest.saturating_add(1)));
        let path = folder.join(format!("{PREFIX}{seconds:010}.parr.{}", std::process::id()));
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let mut log = TensorBoardLog { file: file.map_err(TrainError::io("create", &path))?, path };
        log.append(&record(now(), 0, What::FileVersion))?;
        if let Some(step) = purge_step {
            log.append(&record(now(), step, What::SessionStart))?;
        }
        Ok(log)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, record: &[u8]) -> Result<(), TrainError> {
        self.file.write_all(record).map_err(TrainError::io("write", &self.path))
    }
}

impl MetricsLog for TensorBoardLog {
    fn write(&mut self, metrics: &dyn Metrics) -> Result<(), TrainError> {
        self.append(&record(now(), metrics.step(), What::Scalars(&metrics.tags())))
    }

    fn sync(&mut self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(TrainError::io("write", &self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The latest second in the name of an event file.
fn newest(folder: &Path) -> std::io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let seconds =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        newest = newest.max(seconds);
    }
    Ok(newest)
}
