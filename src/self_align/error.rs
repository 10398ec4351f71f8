//! Errors of self-alignment.

use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::file::FileError;
use crate::generate::GenerateError;
use crate::preferences::PreferencesError;
use crate::settings::SettingsError;
use crate::tokenizer::TextError;
use crate::train::TrainError;

/// Why self-alignment failed. Variants are grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfAlignError {
    /// A file could not be written: check path, permissions and disk space. A retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The set of principles has another use: give a set with `use = "rules"`.
    #[error("the set `{set}` has use = \"{uses}\"; self-alignment needs a set with use = \"rules\"")]
    Rules {
        /// The set's id.
        set: String,
        /// The set's `use`.
        uses: &'static str,
    },

    /// Rules and exemplars do not fit: use fewer, leave less room for request and answer, or use a model with
    /// a longer context.
    #[error(
        "rules and exemplars need {needed} tokens, but request and answer leave room for {capacity}; \
         use fewer, or lower prompt_tokens or sampling.max_tokens"
    )]
    NoRoom {
        /// Tokens of the shortest prompt that was tried.
        needed: usize,
        /// Tokens that fit.
        capacity: usize,
    },

    /// The model has no tokenizer: use one that has.
    #[error("the model has no tokenizer: put tokenizer.json next to its weights")]
    NoTokenizer,

    /// The folder already holds a run: resume it, or name another folder.
    #[error(
        "{} holds answers to {prompts} prompts: resume that run, or name another folder",
        folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// Number of answered prompts.
        prompts: usize,
    },

    /// The records in the folder belong to a run with other inputs: restore these inputs, or name another
    /// folder.
    #[error(
        "{} line {line} belongs to another run: {what} changed; undo that, or name another folder",
        path.display()
    )]
    OtherRun {
        /// The file of records.
        path: PathBuf,
        /// Line of the first such record, counted from 1.
        line: usize,
        /// What differs.
        what: &'static str,
    },

    /// There are no prompts, or no answer passed the filters: give more prompts, more tokens, or a larger
    /// model.
    #[error("{reason}")]
    Nothing {
        /// What is missing.
        reason: String,
    },

    /// The settings file is not valid, or settings are out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// Records could not be read or written.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),

    /// A text could not be encoded.
    #[error(transparent)]
    Text(#[from] TextError),

    /// Answers could not be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// The training on the answers failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl SelfAlignError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SelfAlignError::Io(file) => file.kind(),
            SelfAlignError::Settings(inner) => inner.kind(),
            SelfAlignError::Rules { .. } => ErrorKind::Argument,
            SelfAlignError::NoRoom { .. } => ErrorKind::Context,
            SelfAlignError::NoTokenizer => ErrorKind::Mismatch,
            SelfAlignError::Occupied { .. } | SelfAlignError::OtherRun { .. } => ErrorKind::Run,
            SelfAlignError::Nothing { .. } => ErrorKind::Data,
            SelfAlignError::Preferences(inner) => inner.kind(),
            SelfAlignError::Text(inner) => inner.kind(),
            SelfAlignError::Generate(inner) => inner.kind(),
            SelfAlignError::Train(inner) => inner.kind(),
        }
    }
}
