//! Errors of sampling and judging replies.

use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::file::FileError;
use crate::format::LoadError;
use crate::generate::GenerateError;
use crate::model::lora::AdapterError;
use crate::preferences::PreferencesError;
use crate::principles::PrinciplesError;
use crate::settings::SettingsError;
use crate::tokenizer::TextError;

/// Why preferences could not be collected, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The model has no chat template: use one that has.
    #[error("the model has no chat template, so it can neither reply nor judge")]
    NoChat,

    /// The chat template refuses a part of its input: leave that part out.
    #[error("the chat template refuses {what}")]
    Template {
        /// The part, such as a system message.
        what: &'static str,
        /// The template's error.
        source: TextError,
    },

    /// A prompt does not fit: leave it out, ask for shorter replies, or let such prompts be skipped.
    #[error(
        "{} line {line}: prompt `{id}` with its replies takes up to {needed} tokens, but the model's context \
         has {capacity}; shorten it, lower max_tokens, or set prompts.too_long to \"skip\"",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The prompt's id.
        id: String,
        /// Tokens that it may need.
        needed: usize,
        /// The model's context, in tokens.
        capacity: usize,
    },

    /// A principle lacks something that the judge or the plan needs: complete it, leave it out, or choose
    /// another judge or plan.
    #[error("principle `{principle}` {reason}")]
    Principle {
        /// The principle's id.
        principle: String,
        /// What it lacks, and what needs it.
        reason: String,
    },

    /// The model's vocabulary has no single tokens for the labels that a judge reads: use another judge.
    #[error("this model cannot judge by labels: {reason}; the judge `contrast` needs none")]
    Labels {
        /// The label and its tokens.
        reason: String,
    },

    /// The file holds comparisons of another run: write to another file, or restore its settings.
    #[error(
        "{} belongs to another run: {reason}; write to another file, or restore its settings",
        path.display()
    )]
    OtherRun {
        /// The file of comparisons.
        path: PathBuf,
        /// What differs.
        reason: String,
    },

    /// No prompt or no principle is left.
    #[error("{reason}")]
    Nothing {
        /// What is missing.
        reason: String,
    },

    /// Settings cannot be parsed, or a value is outside its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// Principles cannot be read, or there is no such principle.
    #[error(transparent)]
    Principles(#[from] PrinciplesError),

    /// Prompts or comparisons cannot be read or written.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),

    /// The model failed to run, or the run was cancelled.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// The base's file could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// The adapter is not in its bank.
    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// A text could not be encoded.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl JudgeError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            JudgeError::Io(file) => file.kind(),
            JudgeError::Settings(settings) => settings.kind(),
            JudgeError::NoChat | JudgeError::Labels { .. } => ErrorKind::Mismatch,
            JudgeError::Template { .. } => ErrorKind::Argument,
            JudgeError::TooLong { .. } => ErrorKind::Context,
            JudgeError::Principle { .. } => ErrorKind::Principles,
            JudgeError::OtherRun { .. } => ErrorKind::Run,
            JudgeError::Nothing { .. } => ErrorKind::Data,
            JudgeError::Principles(inner) => inner.kind(),
            JudgeError::Preferences(inner) => inner.kind(),
            JudgeError::Generate(inner) => inner.kind(),
            JudgeError::Load(inner) => inner.kind(),
            JudgeError::Adapter(inner) => inner.kind(),
            JudgeError::Text(inner) => inner.kind(),
        }
    }
}
