//! What can go wrong around a training run, apart from the device.

use std::path::{Path, PathBuf};

use crate::adapter::AdapterFileError;
use crate::error::ErrorKind;
use crate::file::FileError;
use crate::format::LoadError;
use crate::generate::GenerateError;
use crate::gpu::DeviceError;
use crate::model::lora::AdapterError;
use crate::ops::ShapeError;
use crate::settings::SettingsError;

/// Why a training run could not be set up or go on, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// A line of a data file or of a log is wrong: correct that line.
    #[error("{} line {line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// The rows are sound, but the file as a whole cannot be trained on: give other data or settings.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// Settings are not a settings file, or outside their range.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// The caller cancelled. The state is saved, and the run can be resumed.
    #[error("cancelled; the state is saved, and the run can be resumed")]
    Cancelled,

    /// A saved training state is damaged, or not one: resume from another.
    #[error("{} is no sound training state: {rule}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The rule that is broken, and by which value.
        rule: String,
    },

    /// The state to resume from belongs to another run: resume it with that run's settings and files.
    #[error("{} belongs to another run: its {what} is not the one given now", path.display())]
    OtherRun {
        /// The state.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },

    /// A state lacks what the adapters need: it belongs to other settings.
    #[error(
        "the saved state does not match this run: it has {} values of `{tensor}`, the run needs {expected}",
        found.unwrap_or_default()
    )]
    Resume {
        /// Name of the tensor.
        tensor: String,
        /// Values there are; none without the tensor.
        found: Option<usize>,
        /// Values there should be.
        expected: usize,
    },

    /// The folder holds a run already: resume it, or name another folder.
    #[error("{} already contains a run at step {step}: resume it, or name another folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// Steps of that run.
        step: u64,
    },

    /// Another run writes to the folder: wait for it, or name another folder.
    #[error("another run writes to {}: wait for it, or name another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },

    /// A sequence that cannot be computed: correct it.
    #[error("sequence {sequence}: {what}")]
    Sequence {
        /// Its index in the call.
        sequence: usize,
        /// What is wrong with it.
        what: String,
    },

    /// Sequences that exceed what a pass was made for: take fewer, or make a larger pass.
    #[error("a pass takes {allowed} {what}, not {needed}")]
    PassFull {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        needed: usize,
        /// How much a pass takes.
        allowed: usize,
    },

    /// A backward pass without its forward pass, or with gradients of another one.
    #[error(
        "a backward pass takes the gradients of the last forward pass: {readings} of each, not {gradients}"
    )]
    NoForward {
        /// Readings of the last forward pass; 0 without one.
        readings: usize,
        /// Gradients given.
        gradients: usize,
    },

    /// Adapters that learn must stand in the first places of their bank: attach them first.
    #[error("trainable adapter {wanted} is at bank slot {place}: attach it first")]
    Places {
        /// Its number, which is the place it should have.
        wanted: usize,
        /// The place it has.
        place: usize,
    },

    /// A loss or a gradient became NaN or infinite, and nothing was changed: lower the learning rate, or
    /// look at the rows of this step.
    #[error("{what} became NaN or infinite in step {step}; adapters and moments are as before it")]
    NotFinite {
        /// Where.
        what: String,
        /// The step that was about to be taken, from 1.
        step: u64,
    },

    /// No pass fits: take shorter sequences, a smaller rank, or more memory.
    #[error("needs {needed} bytes of device memory where {allowed} are allowed ({what}){}", listed(parts))]
    Memory {
        /// Bytes that the smallest pass takes.
        needed: u64,
        /// Bytes there are.
        allowed: u64,
        /// What was compared.
        what: &'static str,
        /// Bytes by what they are for.
        parts: Vec<(&'static str, u64)>,
    },

    /// An adapter does not fit the model or its bank.
    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// An adapter could not be written.
    #[error(transparent)]
    AdapterFile(#[from] AdapterFileError),

    /// The base could not be read again.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// Generation failed, with which training is compared.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// The device failed, or was asked for too much.
    #[error(transparent)]
    Device(#[from] DeviceError),

    /// Buffers of a pass disagree: a bug in Parr.
    #[error(transparent)]
    Shape(ShapeError),
}

impl From<ShapeError> for TrainError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Device(device) => TrainError::Device(device),
            other => TrainError::Shape(other),
        }
    }
}

impl TrainError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TrainError::Io(file) => file.kind(),
            TrainError::Settings(settings) => settings.kind(),
            TrainError::Row { .. } | TrainError::Data { .. } | TrainError::Sequence { .. } => ErrorKind::Data,
            TrainError::State { .. } => ErrorKind::Format,
            TrainError::OtherRun { .. }
            | TrainError::Resume { .. }
            | TrainError::Occupied { .. }
            | TrainError::Busy { .. } => ErrorKind::Run,
            TrainError::NotFinite { .. } => ErrorKind::Diverged,
            TrainError::Memory { .. } => ErrorKind::Memory,
            TrainError::Cancelled => ErrorKind::Cancelled,
            TrainError::Adapter(inner) => inner.kind(),
            TrainError::AdapterFile(inner) => inner.kind(),
            TrainError::Load(inner) => inner.kind(),
            TrainError::Generate(inner) => inner.kind(),
            TrainError::Device(inner) => inner.kind(),
            TrainError::PassFull { .. }
            | TrainError::NoForward { .. }
            | TrainError::Places { .. }
            | TrainError::Shape(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn row(path: &Path, line: usize, reason: impl Into<String>) -> TrainError {
        TrainError::Row { path: path.to_owned(), line, reason: bounded(&reason.into()) }
    }

    pub(crate) fn state(path: &Path, rule: impl Into<String>) -> TrainError {
        TrainError::State { path: path.to_owned(), rule: bounded(&rule.into()) }
    }
}

/// Bytes by what they are for, as the end of a message.
fn listed(parts: &[(&'static str, u64)]) -> String {
    parts.iter().map(|(what, bytes)| format!("\n  {what}: {bytes}")).collect()
}

/// A message that quotes a file, as it may be shown: no control characters, and of bounded length.
fn bounded(text: &str) -> String {
    const HEAD: usize = 240;
    const TAIL: usize = 160;
    let escaped = |letter: char| if letter.is_control() { ' ' } else { letter };
    let letters: Vec<char> = text.chars().map(escaped).collect();
    match letters.len().checked_sub(HEAD + TAIL) {
        None | Some(0) => letters.into_iter().collect(),
        Some(cut) => {
            let tail = letters[HEAD + cut..].iter();
            letters[..HEAD].iter().chain(&[' ', '.', '.', '.', ' ']).chain(tail).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_shown_in_bounds() {
        let error = TrainError::row(
            "rows.jsonl".as_ref(),
            3,
            format!("key `\u{1b}[2J{}` is new", "x".repeat(1 << 20)),
        );
        let text = error.to_string();
        assert!(
            text.starts_with("rows.jsonl line 3: key ` [2Jxxx") && text.ends_with("xxx` is new"),
            "{text}"
        );
        assert!(text.len() < 500 && !text.contains('\u{1b}'));
    }
}
