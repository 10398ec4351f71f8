//! What can go wrong in self-alignment, apart from the layers below.

use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::file::FileError;
use crate::generate::GenerateError;
use crate::preferences::PreferencesError;
use crate::settings::SettingsError;
use crate::tokenizer::TextError;
use crate::train::TrainError;

/// Why a model could not be aligned by itself, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfAlignError {
    /// A file could not be written: check path, permissions and space; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The set of principles has another use: take one with `use = "rules"`.
    #[error("the set `{set}` is made for use = \"{uses}\"; self-alignment needs use = \"rules\"")]
    Rules {
        /// The set's id.
        set: String,
        /// What it is made for.
        uses: &'static str,
    },

    /// Rules and exemplars do not fit: use fewer, leave less room for request and answer, or take a model
    /// with a longer context.
    #[error(
        "rules and exemplars need {needed} tokens; beside request and answer there is room for {capacity}"
    )]
    NoRoom {
        /// Tokens of the least that was tried.
        needed: usize,
        /// Tokens that there may be.
        capacity: usize,
    },

    /// The model knows only token ids: take one with a tokenizer.
    #[error("the model has no tokenizer: put tokenizer.json beside its weights")]
    NoTokenizer,

    /// The folder holds a run already: resume it, or name another folder.
    #[error("{} holds answers to {prompts} prompts: resume that run, or name another folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// Prompts that were answered.
        prompts: usize,
    },

    /// What the folder holds was made from something else: resume it with that, or name another folder.
    #[error("{} line {line} is of another run: its {what} is not the one given now", path.display())]
    OtherRun {
        /// The file of records.
        path: PathBuf,
        /// The line of the first such record, counted from 1.
        line: usize,
        /// What differs.
        what: &'static str,
    },

    /// There is nothing to ask, or no answer passed the filters: give more prompts, more tokens, or a larger
    /// model.
    #[error("{reason}")]
    Nothing {
        /// What is missing.
        reason: String,
    },

    /// Settings are not a settings file, or outside their range.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// Records could not be read or written.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),

    /// A text could not be encoded.
    #[error(transparent)]
    Text(#[from] TextError),

    /// Nothing could be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// Settings or the training on the answers.
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
