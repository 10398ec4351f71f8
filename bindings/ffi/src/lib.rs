//! Parr for Swift, Kotlin and Python: the public API of the [`parr`] crate as objects, records and one flat
//! error type that uniffi supports.
//!
//! | part | contents |
//! |---|---|
//! | [`Model`], [`ModelOptions`], [`gpus`] | weights on a GPU, which are loaded again after a lost GPU |
//! | [`ChatSession`], [`TokenListener`], [`CancelToken`] | conversations with streaming and cancellation |
//! | [`PrincipleSet`], [`parse_principles`], [`check_principles`] | principles as values |
//! | [`RewardModel`], [`Score`] | replies scored under principles |
//! | [`Steering`], [`SteeredReply`] | replies steered by principles, including the best of several |
//! | [`Adapter`] | LoRA adapters: opened, attached, blended, exported |
//! | [`TrainingJob`], [`TrainingListener`], [`TrainingPolicy`] | training in the background |
//! | [`TrainingWorkers`], [`TrainingWorker`] | training whose heavy parts other processes compute |
//! | [`ParrError`] | every failure, grouped by what the app can do next |
//!
//! Every function may be called from any thread. Long calls are asynchronous and run on their own thread.
//! In Kotlin and Python, cancelling the task also cancels the call, because uniffi drops the future.
//! [`CancelToken`] works in every language. The core does not depend on this crate.

// The compiler follows wgpu's types deeply to see that a worker can move between threads.
#![recursion_limit = "256"]

uniffi::setup_scaffolding!("parr");

mod adapter;
mod batch;
mod call;
mod callback;
mod error;
mod gpu;
mod hub;
mod model;
mod principles;
mod reply;
mod reward;
mod session;
mod steer;
mod training;

pub use adapter::{Adapter, AdapterInfo, AdapterShare, blend_adapters};
pub use batch::Prompt;
pub use call::CancelToken;
pub use callback::{CallbackError, ProgressListener, TokenListener};
pub use error::ParrError;
pub use gpu::{GpuInfo, gpus};
pub use hub::resolve_model;
#[cfg(feature = "pull")]
pub use hub::{PullOptions, pull_model};
pub use model::{MemoryReport, Model, ModelInfo, ModelOptions};
pub use principles::{
    BoilerplateRule, Boost, OverrideRule, Principle, PrincipleFault, PrincipleSet, PrincipleUse,
    check_principles, compare_replies, draw_principles, keeps_principle, open_principles, parse_principles,
    principle_wording, principles_to_toml, shipped_principles,
};
pub use reply::{ChatMessage, FinishReason, Piece, Reply, ReplyOptions};
pub use reward::{RewardModel, Score};
pub use session::{ChatOptions, ChatSession};
pub use steer::{Candidate, Search, SteeredReply, Steering, Tell};
pub use training::{
    Figure, Sampled, StepDecision, StepReport, TrainingData, TrainingEvent, TrainingJob, TrainingListener,
    TrainingOptions, TrainingOutcome, TrainingPolicy, TrainingState, TrainingStatus, TrainingWorker,
    TrainingWorkers,
};

/// Version of the library, such as `0.1.0`.
#[uniffi::export]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
