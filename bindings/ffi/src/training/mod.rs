//! Training in the background, under the app's control.

mod job;
mod settings;
mod told;

use std::sync::Arc;

pub use job::TrainingJob;
pub use told::{
    Figure, Sampled, StepDecision, StepReport, TrainingEvent, TrainingListener, TrainingOutcome,
    TrainingPolicy, TrainingState, TrainingStatus,
};

use crate::adapter::Adapter;
use crate::principles::PrincipleSet;

/// What is learned, and from what.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum TrainingData {
    /// Supervised fine-tuning on rows of chats, as `parr sft` takes them.
    Examples {
        /// JSON Lines to learn from.
        file: String,
        /// JSON Lines to measure on, instead of some rows of the file.
        held_out: Option<String>,
    },
    /// A reward model, from replies that a judge compared, as `parr reward train` takes them.
    Comparisons {
        /// JSON Lines of comparisons.
        files: Vec<String>,
        /// Names or files of the sets of principles.
        principles: Vec<String>,
        /// Whether programs that principles name judge in the place of the recorded verdicts.
        by_check: bool,
    },
    /// A reward model without principles, from plain preferences.
    Preferences {
        /// JSON Lines of prompt, chosen and rejected.
        file: String,
    },
    /// Alignment by reinforcement, as `parr align` does it: replies to prompts are scored under principles.
    Prompts {
        /// JSON Lines of prompts.
        file: String,
        /// What replies are judged by.
        principles: Vec<PrincipleSet>,
        /// The folder of the reward model; none where the settings name other sources of rewards.
        reward: Option<String>,
    },
}

/// A training run.
#[derive(Clone, Debug, uniffi::Record)]
pub struct TrainingOptions {
    /// What is learned.
    pub data: TrainingData,
    /// The folder of the run: settings, metrics, states to resume from, and the adapter.
    pub out: String,
    /// Settings in TOML, as in `examples/sft.toml`, `examples/reward.toml` and `examples/align.toml`; what they
    /// leave out keeps its default.
    #[uniffi(default = "")]
    pub settings: String,
    /// Whether to go on from the newest state in the folder, if there is one.
    #[uniffi(default = false)]
    pub resume: bool,
    /// The adapter to start from, instead of a fresh one.
    #[uniffi(default = None)]
    pub start: Option<Arc<Adapter>>,
}
