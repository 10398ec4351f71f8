//! Errors of steered replies.

use crate::error::ErrorKind;
use crate::generate::GenerateError;
use crate::model::lora::AdapterError;
use crate::preferences::PreferencesError;
use crate::reward::RewardError;
use crate::tokenizer::TextError;

/// Why there is no steered reply, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteerError {
    /// A score is needed, but there is no reward model: name one.
    #[error("{what} needs a reward model, but there is none")]
    NoReward {
        /// What needs it.
        what: &'static str,
    },

    /// A setting is out of its range: change it.
    #[error("{setting} is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        expected: &'static str,
    },

    /// There are no prompts for a comparison.
    #[error("there are no prompts to compare on")]
    NoPrompts,

    /// A reply to a question could not be scored: correct or leave out that question.
    #[error("question {ask}: {source}")]
    Ask {
        /// Its index in the call.
        ask: usize,
        /// What is wrong with it.
        source: PreferencesError,
    },

    /// The adapter of the model that answers does not fit.
    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// The reward model could not be opened or run.
    #[error(transparent)]
    Reward(#[from] RewardError),

    /// Nothing could be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// A prompt could not be put into the model's chat template.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl SteerError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SteerError::NoReward { .. } | SteerError::Setting { .. } => ErrorKind::Argument,
            SteerError::NoPrompts => ErrorKind::Data,
            SteerError::Ask { source, .. } => source.kind(),
            SteerError::Adapter(inner) => inner.kind(),
            SteerError::Reward(inner) => inner.kind(),
            SteerError::Generate(inner) => inner.kind(),
            SteerError::Text(inner) => inner.kind(),
        }
    }
}
