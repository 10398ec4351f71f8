//! Losses, as pure functions of a few numbers per token.
//!
//! The device reduces the logits of each scored token to its log-probability and entropy, and the hidden
//! state to a value if there is a scalar head. An [`Objective`] computes the loss and one gradient for each
//! of these numbers, which the device propagates back. It is plain arithmetic on slices and is checked by
//! finite differences. A new algorithm is a new file here and needs no change on the device.
//!
//! | objective | learns from | paper |
//! |---|---|---|
//! | [`Supervised`] | targets | |
//! | [`Preference`] | pairs of scores | arXiv 2203.02155 |
//! | [`Binary`] | replies, each with yes or no | |
//! | [`Dpo`] | pairs of replies, without a reward model | arXiv 2305.18290 |
//! | [`Ppo`] | replies with a reward, and a critic | arXiv 1707.06347 |
//! | [`Grpo`] | groups of replies with rewards | arXiv 2402.03300 |
//! | [`Rloo`] | groups of replies with rewards | arXiv 2402.14740 |

mod binary;
mod clip;
mod dpo;
mod group;
mod grpo;
mod kl;
mod ppo;
mod preference;
mod rloo;
mod supervised;

pub use binary::{Binary, BinaryBatch};
pub use clip::{Clip, Surrogate, ValueError, value_error};
pub use dpo::{Dpo, DpoBatch, DpoPair};
pub use group::{GroupBatch, GroupScale, ReplyTokens, group_advantages, leave_one_out};
pub use grpo::{Aggregate, Grpo};
pub use kl::KlEstimator;
pub use ppo::{Ppo, PpoBatch, PpoLosses, PpoReading, PpoToken};
pub use preference::{Pair, Preference, PreferenceBatch};
pub use rloo::Rloo;
pub use supervised::{Supervised, SupervisedBatch};

/// The device's results for the scored tokens (N), in the order of the batch.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TokenStats {
    /// Log-probability of each target given the tokens before it, in nats (N).
    pub logprob: Vec<f32>,
    /// Entropy of each target's distribution, in nats (N).
    pub entropy: Vec<f32>,
    /// The scalar head's output (N). Empty without a head.
    pub value: Vec<f32>,
}

/// A loss and its gradients.
///
/// A step whose batch does not fit into memory is evaluated in parts. Every objective divides by a normalizer
/// of the *whole* step, so the losses, gradients and metrics of the parts add up to those of the step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    /// The part's share of the loss.
    pub loss: f64,
    /// Derivative of the loss by each log-probability (N).
    pub d_logprob: Vec<f32>,
    /// Derivative of the loss by each entropy (N).
    pub d_entropy: Vec<f32>,
    /// Derivative of the loss by each value (N). Empty if [`TokenStats::value`] is empty.
    pub d_value: Vec<f32>,
    /// The part's share of each metric, by its name in the logs.
    pub metrics: Vec<(&'static str, f64)>,
}

/// A training objective.
pub trait Objective {
    /// The other inputs of the loss.
    type Batch: ?Sized;

    /// Returns the loss of a part of a step, and its gradients.
    ///
    /// # Panics
    ///
    /// If `batch` and `stats` have different numbers of tokens.
    fn evaluate(&self, stats: &TokenStats, batch: &Self::Batch) -> Evaluated;

    /// Returns metrics that cannot be added over parts, from the step's loss and its summed metrics.
    fn summarize(&self, _loss: f64, _metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

impl TokenStats {
    /// Returns a loss of 0 with a gradient of 0 for each number, to add to.
    pub fn zeros(&self) -> Evaluated {
        Evaluated {
            loss: 0.0,
            d_logprob: vec![0.0; self.logprob.len()],
            d_entropy: vec![0.0; self.entropy.len()],
            d_value: vec![0.0; self.value.len()],
            metrics: Vec::new(),
        }
    }
}

/// Adds the metrics of one part to those of the parts before it, by name.
pub fn add_metrics(sum: &mut Vec<(&'static str, f64)>, part: &[(&'static str, f64)]) {
    for &(name, value) in part {
        match sum.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += value,
            None => sum.push((name, value)),
        }
    }
}

#[cfg(test)]
mod differences {
    use super::{Objective, TokenStats};

    /// Compares all gradients with central differences in f64. Inputs are f32, so the step is a large power
    /// of two, and the actual change of the input is measured. The remaining error is the square of the step
    /// times a sixth of the third derivative, and one rounding of the gradient to f32.
    pub(super) fn check<O: Objective>(objective: &O, stats: &TokenStats, batch: &O::Batch) {
        const STEP: f32 = 1.0 / 1024.0;
        let found = objective.evaluate(stats, batch);
        type Field = fn(&mut TokenStats) -> &mut Vec<f32>;
        let fields: [(&str, Field, &[f32]); 3] = [
            ("logprob", |stats| &mut stats.logprob, &found.d_logprob),
            ("entropy", |stats| &mut stats.entropy, &found.d_entropy),
            ("value", |stats| &mut stats.value, &found.d_value),
        ];
        for (name, field, gradient) in fields {
            assert_eq!(field(&mut stats.clone()).len(), gradient.len(), "one d_{name} for each");
            for (at, &found) in gradient.iter().enumerate() {
                let loss = |by: f32| {
                    let mut moved = stats.clone();
                    field(&mut moved)[at] += by;
                    (objective.evaluate(&moved, batch).loss, field(&mut moved)[at])
                };
                let ((above, right), (below, left)) = (loss(STEP), loss(-STEP));
                let expected = (above - below) / f64::from(right - left);
                let error = (f64::from(found) - expected).abs();
                assert!(
                    error <= 1e-6 * (1.0 + expected.abs()),
                    "d_{name}[{at}] is {found}, expected {expected}"
                );
            }
        }
    }
}
