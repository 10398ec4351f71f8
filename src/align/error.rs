//! What can go wrong around reinforcement learning, apart from the layers below.

use std::path::PathBuf;

use super::algorithm::known_names;
use crate::adapter::AdapterFileError;
use crate::error::ErrorKind;
use crate::generate::GenerateError;
use crate::model::lora::AdapterError;
use crate::preferences::PreferencesError;
use crate::reward::RewardError;
use crate::settings::SettingsError;
use crate::tokenizer::TextError;
use crate::train::TrainError;

/// Why a policy could not be aligned, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// No prompt is left to learn from: give shorter ones, or allow longer ones.
    #[error("{} leaves no prompt: {left_out} have more than {longest} tokens", path.display())]
    NoPrompts {
        /// Where they come from.
        path: PathBuf,
        /// Number of prompts that were too long.
        left_out: usize,
        /// Tokens that a prompt may have.
        longest: usize,
    },

    /// Nothing judges the replies: give a reward model, a closure, or a length term.
    #[error("there is no source of rewards: give a reward model, or set reward.length.score")]
    NoReward,

    /// A source of rewards gave something that is no reward: correct that source.
    #[error("source of rewards {name}: {reason}")]
    Source {
        /// The source.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// No algorithm has this name: correct it.
    #[error("unknown algorithm `{name}`, expected one of {}", known_names())]
    Algorithm {
        /// The name.
        name: String,
    },

    /// The model has no chat template, so nothing says where a reply begins: take one that chats.
    #[error("the model has no chat template")]
    NoChat,

    /// Prompts and replies may be longer than the model's context: lower the limits.
    #[error("prompts and replies of {tokens} tokens are asked for, but the model's context has {context}")]
    Context {
        /// The longest prompt and the longest reply together.
        tokens: usize,
        /// Positions of the model.
        context: usize,
    },

    /// Settings are not a settings file, or outside their range.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// The training run failed.
    #[error(transparent)]
    Train(#[from] TrainError),

    /// The reward model cannot be used.
    #[error(transparent)]
    Reward(#[from] RewardError),

    /// Prompts cannot be read.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),

    /// A prompt could not be encoded.
    #[error(transparent)]
    Text(#[from] TextError),

    /// An adapter does not fit the model or its bank.
    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// An adapter could not be written.
    #[error(transparent)]
    AdapterFile(#[from] AdapterFileError),

    /// Replies could not be sampled.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl AlignError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AlignError::NoPrompts { .. } => ErrorKind::Data,
            AlignError::NoReward | AlignError::Source { .. } | AlignError::Algorithm { .. } => {
                ErrorKind::Argument
            }
            AlignError::NoChat => ErrorKind::Mismatch,
            AlignError::Context { .. } => ErrorKind::Context,
            AlignError::Settings(inner) => inner.kind(),
            AlignError::Train(inner) => inner.kind(),
            AlignError::Reward(inner) => inner.kind(),
            AlignError::Preferences(inner) => inner.kind(),
            AlignError::Text(inner) => inner.kind(),
            AlignError::Adapter(inner) => inner.kind(),
            AlignError::AdapterFile(inner) => inner.kind(),
            AlignError::Generate(inner) => inner.kind(),
        }
    }
}
