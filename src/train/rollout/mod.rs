//! From sampled replies and their scores to what a policy learns from: rewards, advantages, returns.
//!
//! Plain arithmetic in double precision, on the CPU. A token that is not real (a pad, or one that the policy
//! did not choose) is never read, and everything computed for it is exactly 0.
//!
//! | part | holds |
//! |---|---|
//! | [`KlEstimator`], [`KlController`] | how far the policy is from its reference, and what that costs |
//! | [`Trace`], [`Estimator`] | rewards, advantages and returns of every token |
//! | [`gae`], [`whiten`] | what these are made of |

mod advantage;
mod estimate;
mod kl;
mod kl_control;
mod value_clip;
mod whiten;

pub use advantage::gae;
pub use estimate::{Estimate, Estimates, Estimator, Trace};
pub use kl::KlEstimator;
pub use kl_control::{KlConfig, KlController};
pub use value_clip::ValueClip;
pub use whiten::{scale_to_unit, whiten};
