//! Reward models that read principles: trained on judged replies, asked for scores, measured.
//!
//! A reward model is a LoRA adapter with a scalar head on the base that judged. It reads a reply, the
//! request, a list of principles and a fixed stem ([`RewardFormat`](crate::preferences::RewardFormat)), and its
//! score is the head's value at the stem's last token. So one model serves every list of principles, those
//! that are written after it was trained among them (SALMON, arXiv 2310.05910).
//!
//! | part | holds |
//! |---|---|
//! | [`RewardModel`] | a reward model on the device: replies in, scores out |
//! | [`RewardTraining`], [`RewardConfig`], [`RewardData`] | from judged replies to such a model |
//! | [`RewardCard`] | what its card says: limits of the input, principles, what was held out |
//! | [`evaluate`](evaluate()), [`RewardReport`] | how well it follows principles, as numbers and as a page |

mod card;
mod config;
mod data;
mod error;
mod eval;
mod model;
mod stream;
mod tally;
mod training;

pub use card::{LimitSettings, RewardCard};
pub use config::{Factors, PairBatch, PairEvaluation, RewardConfig};
pub use data::{RewardData, RewardPair};
pub use error::RewardError;
pub use eval::{
    Alone, Bin, Calibration, EvaluateOptions, LengthBias, Rate, RewardReport, Sensitivity, evaluate,
};
pub use model::{RewardModel, RewardOptions, Score, ScoreRequest};
pub(crate) use stream::Stream;
pub use tally::{Tallies, Tally};
pub use training::RewardTraining;
