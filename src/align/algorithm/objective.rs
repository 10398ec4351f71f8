//! The loss of some replies of a rollout.

use crate::align::estimate::Trace;
use crate::train::objective::{Evaluated, GroupBatch, Objective, ReplyTokens, TokenStats};

/// Objective of the updates on one rollout.
///
/// A mini-batch that does not fit into one pass is evaluated in parts. Losses, gradients and metrics must be
/// divided by [`RolloutPart::n_replies`] or [`RolloutPart::n_tokens`], so that those of the parts add up.
pub trait RolloutObjective {
    /// Returns the loss of `part` and its gradients. `stats` holds the values that the current policy and the
    /// current critic give its tokens.
    fn evaluate(&self, part: &RolloutPart<'_>, stats: &TokenStats) -> Evaluated;

    /// Root mean square of return minus value over the real tokens of the rollout, in the units of the
    /// returns. `None` without a critic.
    fn value_error(&self) -> Option<f64> {
        None
    }
}

/// The replies that one pass reads: a mini-batch, or a part of one.
#[derive(Clone, Debug)]
pub struct RolloutPart<'a> {
    /// All replies of the rollout (B), as they were before its first update.
    pub traces: &'a [Trace],
    /// The replies of this part, in the order in which the pass reads them.
    pub replies: Vec<PartReply>,
    /// Number of replies in the whole mini-batch. Above 0.
    pub n_replies: f64,
    /// Number of real tokens in the whole mini-batch. Above 0.
    pub n_tokens: f64,
}

/// Place of one reply in the [`TokenStats`] of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartReply {
    /// Index of the reply in [`RolloutPart::traces`].
    pub index: usize,
    /// Index of the policy's log-probability and entropy of its first token. Those of its other tokens
    /// follow.
    pub policy: usize,
    /// Index of the critic's value before its first token. The other values follow. Without a critic, the
    /// same as `policy`.
    pub value: usize,
}

impl RolloutPart<'_> {
    /// The batch of an objective with one advantage per reply. `advantages` (B) are those of the whole
    /// rollout.
    ///
    /// # Panics
    ///
    /// If there are fewer advantages than traces.
    pub fn group_batch(&self, advantages: &[f64]) -> GroupBatch {
        let tokens = |place: &PartReply| {
            let trace = &self.traces[place.index];
            ReplyTokens {
                first: place.policy,
                old_logprobs: trace.logprob.clone(),
                ref_logprobs: trace.ref_logprob.clone(),
                advantage: advantages[place.index],
            }
        };
        let replies = self.replies.iter().map(tokens).collect();
        GroupBatch { replies, n_replies: self.n_replies, n_tokens: self.n_tokens }
    }
}

/// An objective with one advantage per reply, such as GRPO's and RLOO's.
#[derive(Clone, Debug)]
pub struct GroupObjective<O> {
    /// The loss.
    pub objective: O,
    /// Advantage of each reply of the rollout (B).
    pub advantages: Vec<f64>,
}

impl<O: Objective<Batch = GroupBatch>> RolloutObjective for GroupObjective<O> {
    fn evaluate(&self, part: &RolloutPart<'_>, stats: &TokenStats) -> Evaluated {
        self.objective.evaluate(stats, &part.group_batch(&self.advantages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advantages_follow_their_replies_into_a_part() {
        let trace = |n: usize| Trace {
            real: vec![true; n],
            logprob: vec![-(n as f64); n],
            ref_logprob: vec![-1.0; n],
            ..Trace::default()
        };
        let traces = [trace(2), trace(3), trace(1)];
        let replies =
            vec![PartReply { index: 2, policy: 0, value: 1 }, PartReply { index: 0, policy: 2, value: 4 }];
        let part = RolloutPart { traces: &traces, replies, n_replies: 3.0, n_tokens: 6.0 };
        let batch = part.group_batch(&[0.5, 1.5, -2.0]);
        let found: Vec<_> = batch
            .replies
            .iter()
            .map(|reply| (reply.first, reply.advantage, &reply.old_logprobs[..]))
            .collect();
        assert_eq!(found, [(0, -2.0, &[-1.0][..]), (2, 0.5, &[-2.0, -2.0][..])]);
        assert_eq!((batch.n_replies, batch.n_tokens), (3.0, 6.0));
    }
}
