//! From sampled replies and their scores to what a policy learns from: rewards, advantages, returns.
//!
//! Plain arithmetic in double precision, on the CPU. A token that is not real (a pad, or one that the policy
//! did not choose) is never read, and everything computed for it is exactly 0.
//!
//! | part | holds |
//! |---|---|
//! | [`RewardSum`], [`RewardSource`] | one number a reply, from named sources with weights |
//! | [`KlEstimator`](crate::train::objective::KlEstimator), [`KlController`] | how far the policy is from its reference, and what that costs |
//! | [`Trace`], [`Estimator`] | rewards, advantages and returns of every token |
//! | [`gae`], [`whiten`] | what these are made of |
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
