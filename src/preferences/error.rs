//! Errors of recording, aggregating and reading preferences.

use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::file::FileError;
use crate::principles::PrinciplesError;
use crate::tokenizer::TextError;

/// Why preferences cannot be recorded, aggregated or read, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreferencesError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// A line of a file is wrong: correct it. The other lines are not changed.
    #[error("{} line {line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// Another run writes to the file: wait for it, or choose another file.
    #[error("another run writes to {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// A record is not valid: it was not written, or not accepted.
    #[error("record `{id}`: {reason}")]
    Record {
        /// The record's id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A principle was edited after replies had been judged under it: judge them again, or undo the edit.
    #[error(
        "record `{record}` was judged under another wording of `{principle}`; judge again, or undo the edit"
    )]
    Stale {
        /// The record's id.
        record: String,
        /// The principle's id.
        principle: String,
    },

    /// Records, set and options leave nothing to train on.
    #[error("no preferences to train on: {reason}")]
    Nothing {
        /// What is missing.
        reason: String,
    },

    /// Options are outside their range. All such options are reported at once.
    #[error("the options are not usable: {}", faults.join("; "))]
    Options {
        /// One sentence for each fault, with the option's name, its value and what it may be.
        faults: Vec<String>,
    },

    /// There is nothing to score: give a text.
    #[error("the {what} is empty")]
    Empty {
        /// The prompt or the reply.
        what: &'static str,
    },

    /// An input of the reward model does not fit: use fewer principles, or allow more tokens.
    #[error(
        "the fixed parts and the principles need {needed} tokens and leave too few for the prompt and the \
         reply; there is room for {capacity}"
    )]
    NoRoom {
        /// Number of tokens of the fixed parts and the principles.
        needed: usize,
        /// Maximum number of tokens of an input.
        capacity: usize,
    },

    /// A file of principles has mistakes, or a named principle does not exist.
    #[error(transparent)]
    Principles(#[from] PrinciplesError),

    /// A text could not be encoded.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl PreferencesError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PreferencesError::Io(file) => file.kind(),
            PreferencesError::Options { .. } | PreferencesError::Empty { .. } => ErrorKind::Argument,
            PreferencesError::NoRoom { .. } => ErrorKind::Context,
            PreferencesError::Busy { .. } => ErrorKind::Run,
            PreferencesError::Row { .. }
            | PreferencesError::Record { .. }
            | PreferencesError::Stale { .. }
            | PreferencesError::Nothing { .. } => ErrorKind::Data,
            PreferencesError::Principles(inner) => inner.kind(),
            PreferencesError::Text(inner) => inner.kind(),
        }
    }

    pub(super) fn row(path: &Path, line: usize, reason: impl Into<String>) -> PreferencesError {
        let reason: String = reason.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        const LONGEST: usize = 400;
        let reason = match reason.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}...", &reason[..end]),
            None => reason,
        };
        PreferencesError::Row { path: path.to_owned(), line, reason }
    }
}
