//! Teaching adapters on a frozen, quantized base: passes, objectives, steps, and the loop around them.
//!
//! The same settings, data and seed give the same run on the same device, and a run that was interrupted
//! goes on as if it had not been. [How it works](crate::guide::training).
//!
//! | part | holds |
//! |---|---|
//! | [`Pass`] | packed sequences forward and backward, on the device |
//! | [`Learner`] | one optimizer step, whatever the objective |
//! | [`run`], [`Task`] | the loop, and what it asks of a task |
//! | [`Event`], [`RunPlan`] | what every run reports: its plan, then each step |
//! | [`Sft`], [`Rows`] | supervised fine-tuning, from rows of text to an adapter |
//! | [`Plan`] | device memory, counted before it is taken |
//! | [`config`] | the settings of a run, from TOML; every knob documented where it is declared |
//! | [`data`] | rows of text as token ids with a loss mask, and their order |
//! | [`schedule`] | the learning rate of each step |
//! | [`objective`] | losses over log-probabilities, entropies and values, with their gradients |
//! | [`metrics`] | what a step reports, as JSON Lines and as TensorBoard event files |
//! | [`state`] | weights and moments on disk, whole or not at all |

pub mod config;
pub mod data;
mod error;
mod event;
mod learner;
pub mod metrics;
pub mod objective;
mod optimizer;
mod pass;
mod plan;
mod run;
pub mod schedule;
mod sft;
pub mod state;
mod trainer;

pub use config::SftConfig;
pub(crate) use data::encode_reply;
pub use data::{Dataset, Example, Order, Row, Rows};
pub use error::TrainError;
pub use event::{Count, DataSummary, Event, Items, RunPlan, Step};
pub use learner::{Evaluate, Figures, Learned, Learner, Unit};
pub use metrics::{AlignMetrics, RolloutSample, StepMetrics};
pub use objective::{Evaluated, Objective, TokenStats};
pub use optimizer::AdamW;
pub(crate) use pass::bank_bytes;
pub use pass::{Pass, PassShape, Reading, Sequence};
pub use plan::{Demand, Plan};
pub(crate) use run::{Lengths, Run, Start, adamw, base_sha256, file_name, shape_entries};
pub use schedule::Schedule;
pub use sft::Sft;
pub use state::TrainState;
pub use trainer::{Batch, Control, Task, TrainerOptions, run};
pub(crate) use trainer::{Logs, save};
