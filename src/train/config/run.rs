//! What the settings of every run have in common, whatever it learns.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{
    Auto, BatchConfig, CheckpointConfig, EvaluationConfig, Faults, LoraSettings, MemoryConfig,
    OptimizerConfig, ScheduleConfig,
};
use crate::train::TrainError;
use crate::train::state::hex;

/// Bytes a settings file may have; the samples with all their comments have five thousand.
const MAX_BYTES: u64 = 1 << 20;

/// The settings of a run that do not depend on what it learns: a copy of those in its own settings.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// Everything random in the run follows from it.
    pub seed: u64,
    /// How often everything is seen; parts are possible.
    pub epochs: f64,
    /// Optimizer steps; a number overrules the epochs.
    pub steps: Auto,
    /// The adapter.
    pub lora: LoraSettings,
    /// How gradients become changes.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// What one step works on.
    pub batch: BatchConfig,
    /// Measuring on what is not trained on.
    pub evaluation: EvaluationConfig,
    /// Saving what a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// What is traded for memory.
    pub memory: MemoryConfig,
}

impl RunSettings {
    /// Optimizer steps of a run over `units` rows, or pairs: as set, or as many as the epochs make, the
    /// last one over the end if they do not divide.
    pub fn total_steps(&self, units: usize) -> u64 {
        match self.steps {
            Auto::Fixed(steps) => steps as u64,
            Auto::Auto => ((self.epochs * units as f64 / self.batch.sequences as f64).ceil() as u64).max(1),
        }
    }

    /// Every setting that is outside its range.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        faults.length(self.epochs, self.steps);
        faults.lora(&self.lora);
        faults.optimizer(&self.optimizer);
        faults.schedule(&self.schedule);
        faults.batch(&self.batch);
        faults.evaluation(&self.evaluation);
        faults.checkpoint(&self.checkpoint);
        faults.memory(&self.memory);
        faults
    }
}

/// SHA-256 in hexadecimal of settings, of which those that a run's weights do not depend on are set to
/// their defaults before: a state can be resumed under settings with the same hash.
pub(crate) fn settings_hash(settings: &impl Serialize) -> String {
    let text = serde_json::to_string(settings).expect("settings are plain values");
    hex(&Sha256::digest(text))
}

/// Reads a settings file. What it leaves out keeps its default; values are not judged yet, since the
/// command line may still change them.
pub(crate) fn read_settings<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    parse_settings(&settings_text(path)?, path)
}

/// The text of a settings file.
pub(crate) fn settings_text(path: &Path) -> Result<String, TrainError> {
    let length = std::fs::metadata(path).map_err(TrainError::io("read", path))?.len();
    if length > MAX_BYTES {
        let reason = format!("it has {length} bytes, more than any settings file");
        return Err(TrainError::Config { path: path.to_owned(), line: 1, column: 1, reason });
    }
    std::fs::read_to_string(path).map_err(TrainError::io("read", path))
}

/// Parses the text of a settings file; `path` is for messages.
pub(crate) fn parse_settings<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, TrainError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let (line, column) = match before.rsplit_once('\n') {
            Some((lines, last)) => (lines.matches('\n').count() + 2, last.chars().count() + 1),
            None => (1, before.chars().count() + 1),
        };
        let reason = error.message().replace('\n', ", ");
        TrainError::Config { path: path.to_owned(), line, column, reason }
    })
}

/// Settings as a settings file, without comments.
pub(crate) fn settings_toml(settings: &impl Serialize) -> String {
    toml::to_string(settings).expect("settings are plain values")
}
