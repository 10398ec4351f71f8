//! Direct preference optimization (arXiv 2305.18290): a policy from judged replies, without a reward model.
//!
//! The preferences are those that a reward model would be trained on. A policy does not read principles, so
//! none is negated here: a comparison counts for the reply that the written definitions prefer.

mod config;
mod training;

pub use config::DpoConfig;
pub use training::DpoTraining;
