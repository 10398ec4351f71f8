//! Training of a pointwise reward model: one reply, one principle, yes or no.
//!
//! The score is the log-odds that the reply keeps the principle, so scores of several principles add up, and a list
//! needs no training of its own. All principles of a reply share its tokens: each is a branch behind them
//! ([`Sequence::branches`](crate::train::Sequence::branches)). Pointwise labels follow principles better than pairs
//! do (RLBFF, arXiv 2509.21319).

mod config;
mod data;
mod training;

pub use config::{PointwiseConfig, ReplyBatch};
pub use data::LabelledData;
pub use training::PointwiseTraining;
