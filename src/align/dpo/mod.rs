//! Direct preference optimization (arXiv 2305.18290): trains a policy on judged replies, without a reward
//! model.
//!
//! The preferences are the same as for the training of a reward model, except that no principle is negated,
//! because a policy does not read principles. The preferred reply is the one that the definitions prefer.

mod config;
mod training;

pub use config::DpoConfig;
pub use training::DpoTraining;
