//! Reward models that read principles: training on judged replies, scores, evaluation.
//!
//! A reward model is a LoRA adapter with a scalar head on the base that judged. It reads a reply, the
//! request, a list of principles and a fixed stem ([`RewardFormat`](crate::preferences::RewardFormat)). Its
//! score is the head's value at the stem's last token. So one model serves every list of principles, also
//! principles that are written after its training (SALMON, arXiv 2310.05910).
//!
//! | part | holds |
//! |---|---|
//! | [`RewardModel`] | a reward model on the device: replies in, scores out |
//! | [`RewardTraining`], [`RewardConfig`], [`RewardData`] | from judged replies to a pairwise model |
//! | [`PointwiseTraining`], [`PointwiseConfig`], [`LabelledData`] | from labelled replies to a pointwise model |
//! | [`RewardCard`] | its card: limits of the input, principles, held-out prompts |
//! | [`SHIPPED`], [`resolve`] | the reward model that comes with the program |
//! | [`read_sentences`], [`ReadingReport`] | how well it reads sentences that it was not trained on |
//! | [`measure_certainty`], [`CertaintyReport`] | which sentences it hardly reads |
//! | [`evaluate`](evaluate()), [`RewardReport`] | how well it follows principles, as numbers and as a page |

mod card;
mod certainty;
mod config;
mod data;
mod error;
mod eval;
mod model;
mod pointwise;
mod reading;
mod shipped;
mod stream;
mod tally;
mod training;

pub use card::{Form, LimitSettings, RewardCard};
pub use config::{Factors, PairBatch, PairEvaluation, RewardConfig};
pub use data::{RewardData, RewardPair};
pub use error::RewardError;
pub use eval::{
    Alone, Bin, Calibration, EvaluateOptions, LengthBias, Rate, RewardReport, Sensitivity, evaluate,
};
pub use model::{RewardModel, RewardOptions, Score, ScoreRequest};
pub use pointwise::{LabelledData, PointwiseConfig, PointwiseTraining, ReplyBatch};
pub use reading::{
    AttributeReading, CertaintyReport, ListReading, ReadingReport, SplitReading, measure_certainty,
    read_sentences,
};
pub use shipped::{SHIPPED, resolve};
pub(crate) use stream::Stream;
pub use tally::{Tallies, Tally};
pub use training::RewardTraining;
