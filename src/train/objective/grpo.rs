//! Group relative policy optimization: PPO without a critic (arXiv 2402.03300).

use serde::{Deserialize, Serialize};

use super::KlEstimator;
use super::clip::{Clip, RatioFigures};
use super::group::GroupBatch;
use super::{Evaluated, Objective, TokenStats};

/// `loss = sum_t w_t (max(-A r_t, -A clip(r_t)) + kl_weight k3_t)` over the real tokens of replies (equation
/// 3 of the paper). The advantage `A` is one number per reply
/// ([`group_advantages`](super::group_advantages)). The ratio and its bounds are as in [`Ppo`](super::Ppo).
/// `k3` is the estimate of the KL to the reference ([`KlEstimator::K3`]; equation 4).
///
/// The settings select one of three published variants:
///
/// | variant | scale of the advantages | [`Aggregate`] | `clip` |
/// |---|---|---|---|
/// | GRPO, arXiv 2402.03300 | group | reply | symmetric |
/// | Dr. GRPO, arXiv 2503.20783 | none | constant | symmetric |
/// | token mean and clip-higher of DAPO, arXiv 2503.14476 | group | token | higher above |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grpo {
    /// Bounds of the ratio.
    pub clip: Clip,
    /// Weight of the KL to the reference. If it is 0, no reference is needed.
    pub kl_weight: f64,
    /// Weight of a token.
    pub aggregate: Aggregate,
    /// Maximum number of tokens of a reply. Only [`Aggregate::Constant`] uses it.
    pub longest: usize,
}

/// Weight `w_t` of one token in a reply of `T` tokens, for a step of `B` replies and `N` tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// `1 / (B T)`: every reply has the same weight, as in the paper. A long bad reply is penalized less per
    /// token.
    #[default]
    Reply,
    /// `1 / N`: every token has the same weight.
    Token,
    /// `1 / (B longest)`: every token has the same weight in every step.
    Constant,
}

impl Objective for Grpo {
    type Batch = GroupBatch;

    /// Adds `loss/policy_avg` and, with a KL in the loss, `loss/kl_avg`, both as in the loss. Also adds, as
    /// means over the tokens and under PPO's names, `policy/approxkl_avg`, `policy/clipfrac_avg`,
    /// `policy/entropy_avg` and `val/ratio`.
    fn evaluate(&self, stats: &TokenStats, batch: &GroupBatch) -> Evaluated {
        let GroupBatch { replies, n_replies, n_tokens } = batch;
        debug_assert!(*n_replies > 0.0 && *n_tokens > 0.0, "a step without replies");
        let mut evaluated = stats.zeros();
        let (mut policy, mut divergence, mut entropy) = (0.0, 0.0, 0.0);
        let mut figures = RatioFigures::default();
        let penalised = self.kl_weight != 0.0;
        for reply in replies {
            let len = reply.old_logprobs.len();
            assert!(!penalised || reply.ref_logprobs.len() == len, "one reference log-probability per token");
            let weight = match self.aggregate {
                Aggregate::Reply => 1.0 / (n_replies * len as f64),
                Aggregate::Token => 1.0 / n_tokens,
                Aggregate::Constant => 1.0 / (n_replies * self.longest as f64),
            };
            for (place, &old) in reply.old_logprobs.iter().enumerate() {
                let at = reply.first + place;
                let logprob = f64::from(stats.logprob[at]);
                let term = self.clip.surrogate(reply.advantage, logprob - old);
                policy += weight * term.loss;
                let mut d_logprob = weight * term.d_logprob;
                if penalised {
                    let reference = reply.ref_logprobs[place];
                    divergence += weight * KlEstimator::K3.of(logprob, reference);
                    d_logprob += weight * self.kl_weight * KlEstimator::K3.slope(logprob, reference);
                }
                evaluated.d_logprob[at] = d_logprob as f32;
                entropy += f64::from(stats.entropy[at]) / n_tokens;
                figures.add(1.0 / n_tokens, logprob - old, &term);
            }
        }
        evaluated.loss = policy + self.kl_weight * divergence;
        evaluated.metrics = vec![("loss/policy_avg", policy), ("policy/entropy_avg", entropy)];
        evaluated.metrics.extend(penalised.then_some(("loss/kl_avg", divergence)));
        evaluated.metrics.extend(figures.named());
        evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReplyTokens, differences};
    use super::*;

    const GRPO: Grpo =
        Grpo { clip: Clip::symmetric(0.2), kl_weight: 0.04, aggregate: Aggregate::Reply, longest: 8 };

    /// A reply of three tokens, a value of another role, a reply of one token.
    fn stats() -> TokenStats {
        TokenStats {
            logprob: vec![-1.0, -0.5, -2.0, -9.0, -3.0],
            entropy: vec![2.0, 1.0, 0.5, 7.0, 1.5],
            value: Vec::new(),
        }
    }

    fn batch() -> GroupBatch {
        let good = ReplyTokens {
            first: 0,
            old_logprobs: vec![-1.05, -1.25, -1.5],
            ref_logprobs: vec![-1.5, -0.25, -2.0],
            advantage: 1.5,
        };
        let bad =
            ReplyTokens { first: 4, old_logprobs: vec![-3.5], ref_logprobs: vec![-2.5], advantage: -0.75 };
        GroupBatch { replies: vec![good, bad], n_replies: 2.0, n_tokens: 4.0 }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for aggregate in [Aggregate::Reply, Aggregate::Token, Aggregate::Constant] {
            for clip in [GRPO.clip, Clip::OFF] {
                differences::check(&Grpo { aggregate, clip, ..GRPO }, &stats(), &batch());
            }
        }
    }

    #[test]
    fn tokens_count_as_the_variant_says() {
        // At the rollout itself every ratio is 1, and the gradients are the weights times -A.
        let (stats, mut batch) = (stats(), batch());
        for reply in &mut batch.replies {
            for (place, old) in reply.old_logprobs.iter_mut().enumerate() {
                *old = stats.logprob[reply.first + place].into();
            }
        }
        for (aggregate, first, second) in [
            (Aggregate::Reply, 1.0 / 6.0, 1.0 / 2.0),
            (Aggregate::Token, 1.0 / 4.0, 1.0 / 4.0),
            (Aggregate::Constant, 1.0 / 16.0, 1.0 / 16.0),
        ] {
            let found = Grpo { aggregate, kl_weight: 0.0, ..GRPO }.evaluate(&stats, &batch);
            let expected = [first, first, first, 0.0, second].map(f64::from);
            for (at, weight) in expected.into_iter().enumerate() {
                let advantage = if at < 4 { 1.5 } else { -0.75 };
                assert_eq!(found.d_logprob[at], (-advantage * weight) as f32, "{aggregate:?} token {at}");
            }
            let ratio = found.metrics.iter().find(|(name, _)| *name == "val/ratio").expect("reported").1;
            assert_eq!(ratio, 1.0, "whatever tokens count, the mean ratio is one over tokens");
        }
    }

    #[test]
    fn without_a_kl_no_reference_is_needed() {
        let mut batch = batch();
        batch.replies.iter_mut().for_each(|reply| reply.ref_logprobs.clear());
        let found = Grpo { kl_weight: 0.0, ..GRPO }.evaluate(&stats(), &batch);
        assert!(found.loss.is_finite() && found.metrics.iter().all(|(name, _)| *name != "loss/kl_avg"));
        assert_eq!(found.d_logprob[3], 0.0, "another role's");
    }

    #[test]
    fn parts_add_up_to_the_whole_step() {
        let (stats, batch) = (stats(), batch());
        let whole = GRPO.evaluate(&stats, &batch);
        let part = |at: usize| {
            GRPO.evaluate(&stats, &GroupBatch { replies: vec![batch.replies[at].clone()], ..batch })
        };
        let (first, second) = (part(0), part(1));
        assert!((first.loss + second.loss - whole.loss).abs() < 1e-12);
        assert_eq!((&first.d_logprob[..4], second.d_logprob[4]), (&whole.d_logprob[..4], whole.d_logprob[4]));
    }
}
