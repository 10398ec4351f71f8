//! Training in the background, under the app's control.

mod events;
mod job;
mod settings;
mod workers;

use std::sync::Arc;

pub use events::{
    Figure, Sampled, StepDecision, StepReport, TrainingEvent, TrainingListener, TrainingOutcome,
    TrainingPolicy, TrainingState, TrainingStatus,
};
pub use job::TrainingJob;
pub use workers::{TrainingWorker, TrainingWorkers};

use crate::adapter::Adapter;
use crate::principles::PrincipleSet;

/// The kind of training, and its data.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum TrainingData {
    /// Supervised fine-tuning on rows of chats, in the format of `parr sft`.
    Examples {
        /// JSON Lines for training.
        file: String,
        /// JSON Lines for evaluation, instead of some rows of the file.
        held_out: Option<String>,
    },
    /// A reward model, from replies that a judge compared, in the format of `parr reward train`.
    Comparisons {
        /// JSON Lines of comparisons.
        files: Vec<String>,
        /// Names or files of the sets of principles.
        principles: Vec<String>,
        /// Whether the programs that principles name replace the recorded verdicts.
        by_check: bool,
    },
    /// A reward model without principles, from plain preferences.
    Preferences {
        /// JSON Lines of prompt, chosen and rejected.
        file: String,
    },
    /// Alignment by reinforcement learning, as in `parr align`: replies to prompts are scored under
    /// principles.
    Prompts {
        /// JSON Lines of prompts.
        file: String,
        /// The principles that score the replies.
        principles: Vec<PrincipleSet>,
        /// The folder of the reward model. None if the settings name other reward sources.
        reward: Option<String>,
    },
}

/// Options of a training run.
#[derive(Clone, Debug, uniffi::Record)]
pub struct TrainingOptions {
    /// The kind of training, and its data.
    pub data: TrainingData,
    /// The folder of the run: settings, metrics, states to resume from, and the adapter.
    pub out: String,
    /// Settings in TOML, as in `examples/sft.toml`, `examples/reward.toml` and `examples/align.toml`.
    /// Settings that are left out keep their defaults.
    #[uniffi(default = "")]
    pub settings: String,
    /// Whether to resume from the newest state in the folder, if there is one.
    #[uniffi(default = false)]
    pub resume: bool,
    /// The adapter to start from, instead of a fresh one.
    #[uniffi(default = None)]
    pub start: Option<Arc<Adapter>>,
}
