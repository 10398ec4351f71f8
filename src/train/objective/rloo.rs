//! REINFORCE with the other replies as baseline (arXiv 2402.14740).

use super::clip::{Clip, RatioFigures};
use super::group::GroupBatch;
use super::{Evaluated, Objective, TokenStats};

/// `loss = sum_replies max(-A r, -A clip(r)) / B` with one ratio per reply, `r = exp(sum_t (logprob_t -
/// old_logprob_t))`, because a whole reply is one action.
///
/// The advantages come from [`leave_one_out`](super::leave_one_out), applied to rewards minus the KL penalty
/// of the whole reply ([`Trace::penalised`](crate::align::estimate::Trace::penalised)).
///
/// In the first update on a rollout, the ratio is 1 and the gradient is the paper's, `-A grad log pi(reply)`.
/// In further updates on the same replies, the ratio corrects for the change of the policy, with bounds as in
/// TRL, or without them ([`Clip::OFF`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rloo {
    /// Bounds of the ratio of a whole reply.
    pub clip: Clip,
}

impl Objective for Rloo {
    type Batch = GroupBatch;

    /// Adds `loss/policy_avg`, `policy/approxkl_avg`, `policy/clipfrac_avg` and `val/ratio` as means over the
    /// replies, and `policy/entropy_avg` as a mean over the tokens.
    fn evaluate(&self, stats: &TokenStats, batch: &GroupBatch) -> Evaluated {
        let GroupBatch { replies, n_replies, n_tokens } = batch;
        debug_assert!(*n_replies > 0.0 && *n_tokens > 0.0, "a step without replies");
        let mut evaluated = stats.zeros();
        let mut entropy = 0.0;
        let mut figures = RatioFigures::default();
        for reply in replies {
            let tokens = reply.first..reply.first + reply.old_logprobs.len();
            let now = stats.logprob[tokens.clone()].iter();
            let log_ratio: f64 = now.zip(&reply.old_logprobs).map(|(&now, old)| f64::from(now) - old).sum();
            let term = self.clip.surrogate(reply.advantage, log_ratio);
            evaluated.loss += term.loss / n_replies;
            evaluated.d_logprob[tokens.clone()].fill((term.d_logprob / n_replies) as f32);
            entropy +=
                stats.entropy[tokens].iter().map(|&entropy| f64::from(entropy)).sum::<f64>() / n_tokens;
            figures.add(1.0 / n_replies, log_ratio, &term);
        }
        evaluated.metrics = vec![("loss/policy_avg", evaluated.loss), ("policy/entropy_avg", entropy)];
        evaluated.metrics.extend(figures.named());
        evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReplyTokens, differences};
    use super::*;

    fn stats() -> TokenStats {
        TokenStats {
            logprob: vec![-1.0, -0.5, -9.0, -2.0, -3.0, -0.25],
            entropy: vec![2.0, 1.0, 7.0, 0.5, 1.5, 0.25],
            value: Vec::new(),
        }
    }

    fn batch() -> GroupBatch {
        let reply = |first, old_logprobs: &[f64], advantage| ReplyTokens {
            first,
            old_logprobs: old_logprobs.to_vec(),
            ref_logprobs: Vec::new(),
            advantage,
        };
        // Within the bounds, beyond them and clipped, beyond them and not clipped.
        let replies =
            vec![reply(0, &[-1.05, -0.55], 1.5), reply(3, &[-2.5], 0.5), reply(4, &[-3.25, -0.5], -2.0)];
        GroupBatch { replies, n_replies: 3.0, n_tokens: 5.0 }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for clip in [Clip::symmetric(0.2), Clip::OFF] {
            differences::check(&Rloo { clip }, &stats(), &batch());
        }
    }

    #[test]
    fn at_the_rollout_itself_it_is_reinforce() {
        let (stats, mut batch) = (stats(), batch());
        for reply in &mut batch.replies {
            for (place, old) in reply.old_logprobs.iter_mut().enumerate() {
                *old = stats.logprob[reply.first + place].into();
            }
        }
        let found = Rloo { clip: Clip::symmetric(0.2) }.evaluate(&stats, &batch);
        assert_eq!(found.d_logprob, [-0.5, -0.5, 0.0, -0.5 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
        assert!(found.metrics.contains(&("val/ratio", 1.0)), "{:?}", found.metrics);
    }
}
