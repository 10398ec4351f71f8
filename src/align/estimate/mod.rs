//! Computes rewards, advantages and returns from sampled replies and their scores.
//!
//! Plain arithmetic in double precision, on the CPU. A token that is not real is a pad, or one that the
//! policy did not choose. Such a token is never read, and all its results are exactly 0.
//!
//! | part | holds |
//! |---|---|
//! | [`RewardSum`], [`RewardSource`] | one reward per reply, from named sources with weights |
//! | [`KlEstimator`](crate::train::objective::KlEstimator), [`KlController`] | KL to the reference, and the coefficient of the KL penalty |
//! | [`Trace`], [`Estimator`] | rewards, advantages and returns of every token |
//! | [`gae`], [`whiten`] | the functions that compute them |
//! | [`Updates`] | the updates on one rollout: when to stop, and their mean figures |
//! | [`Watch`] | whether the policy has collapsed |

mod advantage;
mod collapse;
mod figures;
mod kl_control;
mod language;
mod length;
mod reward;
mod trace;
mod updates;
mod value_clip;
mod whiten;

pub use crate::train::metrics::RolloutFigures;
pub use advantage::gae;
pub use collapse::{Collapse, CollapseConfig, Health, Watch};
pub use kl_control::{KlConfig, KlController};
pub use language::LanguageMatch;
pub use length::{LengthConfig, LengthTerm};
pub use reward::{FinishedReply, FnSource, RewardSource, RewardSum, Rewards, UnfinishedConfig};
pub use trace::{Estimate, Estimates, Estimator, Trace};
pub use updates::Updates;
pub use value_clip::ValueClip;
pub use whiten::{scale_to_unit, whiten};
