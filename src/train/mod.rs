//! Training of adapters on a frozen, quantized base: passes, objectives, optimizer steps and the training
//! loop.
//!
//! On the same device, the same settings, data and seed give the same run. An interrupted run resumes and
//! gives the same result as an uninterrupted one. [How it works](crate::guide::training).
//!
//! | part | holds |
//! |---|---|
//! | [`Pass`] | forward and backward passes over packed sequences, on the device |
//! | [`Learner`] | one optimizer step, for any objective |
//! | [`run`], [`Task`] | the training loop, and the trait that each kind of training implements |
//! | [`Event`], [`RunPlan`] | reports of a run: its plan, then each step |
//! | [`Sft`], [`Rows`] | supervised fine-tuning, from rows of text to an adapter |
//! | [`Plan`] | device memory of a run, counted before it is allocated |
//! | [`config`] | settings of a run, read from TOML; each is documented where it is declared |
//! | [`data`] | rows of text as token ids with a loss mask, and their order |
//! | [`schedule`] | learning rate of each step |
//! | [`objective`] | losses over log-probabilities, entropies and values, with their gradients |
//! | [`metrics`] | figures of each step, as JSON Lines and as TensorBoard event files |
//! | [`state`] | weights and optimizer moments on disk, written atomically |

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
mod recover;
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
pub(crate) use recover::recovering;
pub(crate) use run::{Lengths, Run, Start, adamw, base_sha256, file_name, settings_file, shape_entries};
pub use schedule::Schedule;
pub use sft::Sft;
pub use state::TrainState;
pub use trainer::{Batch, Control, Task, TrainerOptions, run};
pub(crate) use trainer::{Logs, save};
