//! What a model is taught with: rows of data, a schedule, an objective, metrics, states to resume from.
//!
//! Everything here runs on the CPU and is a pure function of its inputs, files aside: the same settings,
//! data and seed give the same run, and a run that was interrupted goes on as if it had not been.
//!
//! | part | holds |
//! |---|---|
//! | [`config`] | the settings of a run, from TOML; every knob documented where it is declared |
//! | [`data`] | rows of a JSON Lines file as token ids with a loss mask, and their order |
//! | [`schedule`] | the learning rate of each step |
//! | [`objective`] | losses over log-probabilities, entropies and values, with their gradients |
//! | [`metrics`] | what a step reports, as JSON Lines and as TensorBoard event files |
//! | [`state`] | weights and moments on disk, whole or not at all |

pub mod config;
pub mod data;
mod error;
mod learner;
pub mod metrics;
pub mod objective;
mod optimizer;
mod pass;
mod plan;
pub mod schedule;
mod sft;
pub mod state;
mod trainer;

pub use config::SftConfig;
pub use data::{Dataset, Example, Order};
pub use error::TrainError;
pub use learner::{Evaluate, Learned, Learner, Unit};
pub use metrics::StepMetrics;
pub use objective::{Evaluated, Objective, TokenStats};
pub use optimizer::AdamW;
pub use pass::{Pass, PassShape, Reading, Sequence};
pub use plan::{Demand, Plan};
pub use schedule::Schedule;
pub use sft::{Prospect, Sft};
pub use state::TrainState;
pub use trainer::{Batch, Control, Ended, Progress, Task, TrainerOptions, run};
