//! Errors of reinforcement learning and of DPO.

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

/// Why a policy could not be aligned. Variants are grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// No prompt is left to train on: give shorter prompts, or allow longer ones.
    #[error(
        "{} has no usable prompt: {left_out} have more than {longest} tokens; \
         give shorter prompts, or allow longer ones",
        path.display()
    )]
    NoPrompts {
        /// File of the prompts, or `prompts` for prompts in memory.
        path: PathBuf,
        /// Number of prompts that were too long.
        left_out: usize,
        /// Maximum number of tokens of a prompt.
        longest: usize,
    },

    /// The run has no source of rewards: give a reward model, a closure, or a length term.
    #[error("there is no source of rewards: give a reward model, or set reward.length.score")]
    NoReward,

    /// A source of rewards returned invalid rewards: correct that source.
    #[error("source of rewards {name}: {reason}")]
    Source {
        /// Name of the source.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// No algorithm has this name: correct the name.
    #[error("unknown algorithm `{name}`, expected one of {}", known_names())]
    Algorithm {
        /// The name.
        name: String,
    },

    /// The model has no chat template, so the start of a reply is unknown: use a chat model.
    #[error("the model has no chat template; use an instruction-tuned model")]
    NoChat,

    /// A prompt with its reply may be longer than the model's context: lower the limits.
    #[error(
        "the longest prompt and reply need {tokens} tokens, but the model's context has {context}; \
         lower rollout.max_prompt_tokens or rollout.max_reply_tokens"
    )]
    Context {
        /// Tokens of the longest prompt and the longest reply together.
        tokens: usize,
        /// Context of the model, in tokens.
        context: usize,
    },

    /// Workers could not compute a part of the run: see the message. The last saved state is unchanged.
    #[error("the workers of the run: {reason}")]
    Workers {
        /// What went wrong.
        reason: String,
    },

    /// The settings file is not valid, or settings are out of range.
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
            AlignError::Workers { .. } => ErrorKind::Network,
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
