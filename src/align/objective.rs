//! What a rollout teaches, by the algorithm, and the updates that learn it.

use std::ops::Range;

use super::AlignConfig;
use super::roles::Roles;
use super::rollout::Drawn;
use crate::align::Algorithm;
use crate::align::estimate::{Estimates, Trace, Updates};
use crate::random::{Philox, Purpose};
use crate::train::objective::{
    Evaluated, GroupBatch, Grpo, Objective, Ppo, PpoBatch, ReplyTokens, Rloo, TokenStats, group_advantages,
    leave_one_out,
};
use crate::train::{Learner, TrainError, Unit};

/// Advantages, and the objective that learns from them.
#[derive(Debug)]
pub(super) enum Lesson {
    Ppo { objective: Ppo, estimates: Estimates },
    Grpo { objective: Grpo, advantages: Vec<f64> },
    Rloo { objective: Rloo, advantages: Vec<f64> },
}

impl Lesson {
    /// What `traces` teach where a nat costs `kl_coefficient`; replies to one prompt stand together.
    pub fn new(config: &AlignConfig, traces: &[Trace], kl_coefficient: f64) -> Lesson {
        let group = config.rollout.replies;
        match config.algorithm {
            Algorithm::Ppo => {
                let estimates = config.estimator(kl_coefficient).estimate(traces);
                Lesson::Ppo { objective: config.ppo(estimates.value_error), estimates }
            }
            // The KL stands in the loss, not in the reward.
            Algorithm::Grpo => {
                let scores: Vec<f64> = traces.iter().map(|trace| trace.score).collect();
                let advantages = group_advantages(&scores, group, config.grpo.scale);
                Lesson::Grpo { objective: config.grpo(kl_coefficient), advantages }
            }
            Algorithm::Rloo => {
                let worth = |trace: &Trace| trace.penalised(config.kl.estimator, kl_coefficient);
                let worth: Vec<f64> = traces.iter().map(worth).collect();
                Lesson::Rloo { objective: config.rloo(), advantages: leave_one_out(&worth, group) }
            }
        }
    }

    /// How far the critic was from the returns, root mean square; nothing without a critic.
    pub fn value_error(&self) -> Option<f64> {
        match self {
            Lesson::Ppo { estimates, .. } => Some(estimates.value_error),
            Lesson::Grpo { .. } | Lesson::Rloo { .. } => None,
        }
    }

    /// The loss of the replies `part`, whose units were read one behind another.
    fn evaluate(
        &self,
        roles: &Roles,
        traces: &[Trace],
        part: &[usize],
        whole: &Whole,
        stats: &TokenStats,
    ) -> Evaluated {
        match self {
            Lesson::Ppo { objective, estimates } => {
                let (mut at, mut tokens) = (0, Vec::new());
                for &reply in part {
                    let (estimate, trace) = (&estimates.replies[reply], &traces[reply]);
                    let n = trace.real.len();
                    let value_at = roles.values_at(at, n);
                    tokens.extend(estimate.tokens(trace, at, value_at));
                    at = value_at + n;
                }
                objective.evaluate(stats, &PpoBatch { tokens, normalizer: whole.n_tokens })
            }
            Lesson::Grpo { objective, advantages } => {
                objective.evaluate(stats, &group_batch(traces, advantages, part, whole))
            }
            Lesson::Rloo { objective, advantages } => {
                objective.evaluate(stats, &group_batch(traces, advantages, part, whole))
            }
        }
    }
}

/// A mini-batch, by which its parts are normalised.
struct Whole {
    n_replies: f64,
    n_tokens: f64,
}

fn group_batch(traces: &[Trace], advantages: &[f64], part: &[usize], whole: &Whole) -> GroupBatch {
    let mut first = 0;
    let reply = |&reply: &usize| {
        let trace = &traces[reply];
        let at = first;
        first += trace.real.len();
        ReplyTokens {
            first: at,
            old_logprobs: trace.logprob.clone(),
            ref_logprobs: trace.ref_logprob.clone(),
            advantage: advantages[reply],
        }
    };
    let replies = part.iter().map(reply).collect();
    GroupBatch { replies, n_replies: whole.n_replies, n_tokens: whole.n_tokens }
}

/// What the updates on a rollout came to.
#[derive(Debug)]
pub(super) struct Learnt {
    pub updates: Updates,
    /// Mean norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Tokens computed, those of prompts included.
    pub tokens: usize,
}

/// Learns from a rollout: `update.epochs` times all of its replies, in mini-batches, until the policy is too
/// far from where it sampled them.
pub(super) fn learn(
    learner: &mut Learner,
    roles: &Roles,
    lesson: &Lesson,
    (drawn, traces): (&[Drawn<'_>], &[Trace]),
    (config, step, rate): (&AlignConfig, u64, f64),
) -> Result<Learnt, TrainError> {
    let units: Vec<Unit> =
        drawn.iter().map(|drawn| roles.learners(&drawn.ids(), drawn.tokens.len())).collect();
    let mut learnt = Learnt { updates: Updates::new(config.update.target_kl), grad_norm: 0.0, tokens: 0 };
    'epochs: for epoch in 0..config.update.epochs {
        let order = order(config, step, epoch, units.len());
        for number in 0..config.update.mini_batches {
            let members = &order[share(number, order.len(), config)..share(number + 1, order.len(), config)];
            let batch: Vec<Unit> = members.iter().map(|&reply| units[reply].clone()).collect();
            let n_tokens: usize = members.iter().map(|&reply| traces[reply].n_real()).sum();
            let whole = Whole { n_replies: members.len() as f64, n_tokens: n_tokens as f64 };
            let loss = &mut |range: Range<usize>, stats: &TokenStats| {
                lesson.evaluate(roles, traces, &members[range], &whole, stats)
            };
            let learned = learner.step(&batch, loss, rate)?;
            learnt.grad_norm += learned.grad_norm;
            learnt.tokens += learned.tokens;
            if !learnt.updates.push(&learned.metrics) {
                break 'epochs;
            }
        }
    }
    learnt.grad_norm /= learnt.updates.taken().max(1) as f64;
    Ok(learnt)
}

/// Where mini-batch `number` of so many replies begins: no two differ by more than one reply.
fn share(number: usize, replies: usize, config: &AlignConfig) -> usize {
    number * replies / config.update.mini_batches
}

/// The order of a pass over the replies. Where all of them are one mini-batch it is that of the read-out: sums
/// in the same order are the same sums.
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
