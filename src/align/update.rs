//! The updates on one rollout.

use std::ops::Range;

use super::AlignConfig;
use super::AlignError;
use super::algorithm::{PartReply, RolloutObjective, RolloutPart};
use super::roles::Roles;
use super::rollout::{RolloutReply, passages, sequences};
use super::units::divide;
use super::workers::{MiniBatch, Remote};
use crate::align::estimate::{Trace, Updates};
use crate::random::{Philox, Purpose};
use crate::train::objective::TokenStats;
use crate::train::{Learned, Learner};

/// A rollout, with the inputs of its updates.
pub(super) struct UpdateInput<'a> {
    pub config: &'a AlignConfig,
    /// Number of steps before this one.
    pub step: u64,
    pub learning_rate: f64,
    /// The replies (B). `traces` has the outputs for each, from before the first update.
    pub replies: &'a [RolloutReply<'a>],
    pub traces: &'a [Trace],
    /// The KL coefficient of `objective`.
    pub kl_coefficient: f64,
    pub objective: &'a dyn RolloutObjective,
    /// The readings of all replies, if the learner holds their pass: the first update continues from it.
    pub forwarded: Option<&'a TokenStats>,
}

/// Result of the updates on one rollout.
#[derive(Debug)]
pub(super) struct UpdateResult {
    pub updates: Updates,
    /// Mean norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Number of tokens computed, including those of prompts.
    pub tokens: usize,
}

impl UpdateResult {
    /// The result before the first update. Updates stop when the policy's KL from the rollout exceeds 1.5
    /// times `target_kl`.
    pub fn none(target_kl: f64) -> UpdateResult {
        UpdateResult { updates: Updates::new(target_kl), grad_norm: 0.0, tokens: 0 }
    }
}

/// Updates the adapters on a rollout, with `update.epochs` passes over its replies in mini-batches. Stops
/// early when the policy is too far from the one that sampled the replies.
pub(super) fn update(
    learner: &mut Learner,
    mut workers: Option<&mut Remote<'_>>,
    roles: &Roles,
    input: &UpdateInput<'_>,
) -> Result<UpdateResult, AlignError> {
    let UpdateInput { config, step, learning_rate, replies, traces, kl_coefficient, objective, .. } = *input;
    let mut forwarded = input.forwarded;
    let mut result = UpdateResult::none(config.update.target_kl);
    'epochs: for epoch in 0..config.update.epochs {
        let order = order(config, step, epoch, replies.len());
        for number in 0..config.update.mini_batches {
            let members = &order[share(number, order.len(), config)..share(number + 1, order.len(), config)];
            let units = divide(members, config.rollout.replies, roles.unit_replies);
            let n_replies = members.len() as f64;
            let n_tokens = members.iter().map(|&reply| traces[reply].n_real()).sum::<usize>() as f64;
            let loss = &mut |range: Range<usize>, stats: &TokenStats| {
                let replies = places(roles, traces, &units[range]);
                objective.evaluate(&RolloutPart { traces, replies, n_replies, n_tokens }, stats)
            };
            let batch = || sequences(roles, replies, &units, Roles::learners);
            let learned = match (workers.as_deref_mut(), forwarded.take()) {
                (Some(workers), kept) => {
                    let batch = MiniBatch {
                        sequences: batch(),
                        passages: passages(replies, &units),
                        members: &units,
                        n_replies,
                        n_tokens,
                    };
                    let learned = workers.step(learner, traces, kl_coefficient, &batch, learning_rate)?;
                    // So that the counts of a run do not depend on where it runs.
                    Learned { tokens: if kept.is_some() { 0 } else { learned.tokens }, ..learned }
                }
                (None, Some(stats)) => learner.step_from(&loss(0..units.len(), stats), learning_rate)?,
                (None, None) => learner.step(&batch(), loss, learning_rate)?,
            };
            result.grad_norm += learned.grad_norm;
            result.tokens += learned.tokens;
            if !result.updates.push(&learned.metrics) {
                break 'epochs;
            }
        }
    }
    result.grad_norm /= result.updates.taken().max(1) as f64;
    Ok(result)
}

/// Places of the readings of the replies of `units`, which were read one after the other.
pub(super) fn places(roles: &Roles, traces: &[Trace], units: &[Vec<usize>]) -> Vec<PartReply> {
    let (mut places, mut first) = (Vec::new(), 0);
    for members in units {
        let together: usize = members.iter().map(|&index| traces[index].real.len()).sum();
        let to_values = roles.to_values(together);
        for &index in members {
            places.push(PartReply { index, policy: first, value: first + to_values });
            first += traces[index].real.len();
        }
        first += to_values;
    }
    places
}

/// Index of the first reply of mini-batch `number`. The sizes of mini-batches differ by at most one reply.
fn share(number: usize, replies: usize, config: &AlignConfig) -> usize {
    number * replies / config.update.mini_batches
}

/// The order of a pass over the replies. A single mini-batch keeps the order in which the replies were read,
/// so that sums of the same numbers are bit-identical.
fn order(config: &AlignConfig, step: u64, epoch: usize, replies: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..replies).collect();
    if config.update.mini_batches > 1 {
        let random = Philox::new(config.seed);
        order.sort_by_key(|&reply| {
            (random.bits64(Purpose::MiniBatch, step as u32, reply as u32, epoch as u32), reply)
        });
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_takes_all_replies_in_an_order_of_its_own() {
        let mut config = AlignConfig::default();
        assert_eq!(order(&config, 3, 1, 5), [0, 1, 2, 3, 4]);
        config.update.mini_batches = 2;
        let orders: Vec<Vec<usize>> =
            [(0, 0), (0, 1), (1, 0)].map(|(step, epoch)| order(&config, step, epoch, 40)).into();
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
        for mut order in orders {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..40));
        }
    }
}
