//! Errors of training runs.

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

/// Why a training run could not be set up or continued, grouped by what the caller can do next.
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
        /// What is wrong with it, and what would be correct.
        reason: String,
    },

    /// The rows are valid, but the file as a whole cannot be trained on: give other data or settings.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// The settings file is invalid, or a setting is outside its range: correct it.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// The caller cancelled. The state is saved, and the run can be resumed.
    #[error("cancelled; the state is saved, and the run can be resumed")]
    Cancelled,

    /// A saved training state is damaged, or the file is not a training state: resume from another.
    #[error("{} is not a valid training state: {rule}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The rule that the file breaks, and the value that breaks it.
        rule: String,
    },

    /// The state to resume from belongs to another run: resume it with that run's settings and files.
    #[error(
        "{} belongs to another run, with different {what}: resume with that run's settings and files",
        path.display()
    )]
    OtherRun {
        /// The state.
        path: PathBuf,
        /// The input that differs.
        what: &'static str,
    },

    /// A state lacks values that the adapters need, because it belongs to other settings.
    #[error(
        "the saved state does not match this run: it has {} values of `{tensor}`, the run needs {expected}",
        found.unwrap_or_default()
    )]
    Resume {
        /// Name of the tensor.
        tensor: String,
        /// Number of values in the state; none if the tensor is missing.
        found: Option<usize>,
        /// Number of values that the run needs.
        expected: usize,
    },

    /// The folder already contains a run: resume it, or name another folder.
    #[error("{} already contains a run at step {step}: resume it, or name another folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// Number of steps that the run has done.
        step: u64,
    },

    /// All saved states of the run in the folder are damaged: delete the folder, or name another.
    #[error(
        "{} holds a run, but all its saved states are damaged: delete the folder to start anew, or name \
         another folder ({})",
        folder.display(),
        states.join("; ")
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with each state.
        states: Vec<String>,
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

    /// The sequences exceed the limits of a pass: give fewer, or make a larger pass.
    #[error("a pass holds up to {allowed} {what}, not {needed}: give fewer, or make a larger pass")]
    PassFull {
        /// What exceeds its limit.
        what: &'static str,
        /// Number that was given.
        needed: usize,
        /// Number that a pass holds.
        allowed: usize,
    },

    /// A backward pass without a forward pass, or with the gradients of another forward pass.
    #[error(
        "a backward pass needs the gradients of the last forward pass: {readings} of each, not {gradients}"
    )]
    NoForward {
        /// Number of readings in the last forward pass; 0 without one.
        readings: usize,
        /// Number of gradients given.
        gradients: usize,
    },

    /// Trainable adapters must be in the first slots of their bank: attach them first.
    #[error("trainable adapter {wanted} is at bank slot {place}: attach it first")]
    Places {
        /// Number of the adapter, which is the slot that it must have.
        wanted: usize,
        /// Slot that it has.
        place: usize,
    },

    /// A loss or a gradient became NaN or infinite, and nothing was changed: lower the learning rate, or
    /// check the rows of this step.
    #[error(
        "{what} became NaN or infinite in step {step}; adapters and moments are unchanged: lower the \
         learning rate, or check the data of this step"
    )]
    NotFinite {
        /// The value that became NaN or infinite.
        what: String,
        /// The step that failed, counted from 1.
        step: u64,
    },

    /// No pass fits: use shorter sequences, a smaller rank, or more memory.
    #[error(
        "needs {needed} bytes of device memory, but {allowed} are allowed ({what}): use shorter sequences, a \
         smaller rank or more memory{}",
        listed(parts)
    )]
    Memory {
        /// Number of bytes that the smallest pass needs.
        needed: u64,
        /// Number of bytes that are allowed.
        allowed: u64,
        /// What needs the bytes, and what limits them.
        what: &'static str,
        /// Bytes by purpose.
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

    /// The generation with which training is compared failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// The device failed, or a request exceeded its limits.
    #[error(transparent)]
    Device(#[from] DeviceError),

    /// The shapes of buffers in a pass do not match: a bug in Parr.
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
            | TrainError::Damaged { .. }
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

/// Bytes by purpose, as the end of a message.
fn listed(parts: &[(&'static str, u64)]) -> String {
    parts.iter().map(|(what, bytes)| format!("\n  {what}: {bytes}")).collect()
}

/// Makes a message that quotes a file safe to show: without control characters, and of limited length.
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
