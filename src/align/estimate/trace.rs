//! Rewards, advantages and returns of every token.

use super::{gae, scale_to_unit, whiten};
use crate::train::objective::KlEstimator;
use crate::train::objective::PpoToken;

/// One sampled reply, with the values of the policy, the reference and the critic when it was sampled.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Trace {
    /// Whether the policy chose each token (T). False for pads and for given tokens.
    pub real: Vec<bool>,
    /// The policy's log-probability of each token, in nats (T).
    pub logprob: Vec<f64>,
    /// The reference's log-probability of each token, in nats (T).
    pub ref_logprob: Vec<f64>,
    /// The critic's value of the state before each token (T). Empty without a critic.
    pub value: Vec<f64>,
    /// The reward of the whole reply ([`Rewards::total`](super::Rewards::total)).
    pub score: f64,
}

/// Computes advantages from rewards. Statistics are over all real tokens of a whole rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimator {
    /// Discount per token.
    pub gamma: f64,
    /// Weight of later rewards against the critic's values (arXiv 1506.02438). 1 uses only the rewards.
    pub lambda: f64,
    /// Estimator of a token's KL.
    pub kl: KlEstimator,
    /// KL coefficient, in the units of the reward (beta).
    pub kl_coefficient: f64,
    /// Factor of all rewards, including the KL penalty.
    pub reward_scale: f64,
    /// Whether rewards are divided by their standard deviation before the scale. Their mean does not change.
    pub whiten_rewards: bool,
    /// Whether advantages are whitened.
    pub whiten_advantages: bool,
}

/// The results of one reply, per token (T). 0 if a token is not real.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Reward of each token.
    pub reward: Vec<f64>,
    /// Advantage of each token.
    pub advantage: Vec<f64>,
    /// Return of the state before each token, which is the target of the critic.
    pub target: Vec<f64>,
}

/// The results of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimates {
    /// One result per reply (B).
    pub replies: Vec<Estimate>,
    /// Root mean square of return minus value over the real tokens, in the units of the returns. The scale of
    /// [`ValueClip`](super::ValueClip).
    pub value_error: f64,
}

impl Trace {
    /// Number of tokens that the policy chose.
    pub fn n_real(&self) -> usize {
        self.real.iter().filter(|&&real| real).count()
    }

    /// KL of the whole reply to the reference, in nats: the sum over its real tokens.
    pub fn kl(&self, estimator: KlEstimator) -> f64 {
        self.places().map(|at| estimator.of(self.logprob[at], self.ref_logprob[at])).sum()
    }

    /// The score minus the KL penalty of the whole reply. It is the reward of objectives that treat a reply
    /// as one action ([`Rloo`](crate::train::objective::Rloo)).
    pub fn penalised(&self, estimator: KlEstimator, coefficient: f64) -> f64 {
        self.score - coefficient * self.kl(estimator)
    }

    /// Reward of each token (T): `-coefficient kl_t`, plus the score on the last real token. The score of a
    /// reply without a real token is not used.
    pub fn rewards(&self, estimator: KlEstimator, coefficient: f64) -> Vec<f64> {
        let mut rewards = vec![0.0; self.real.len()];
        for at in self.places() {
            rewards[at] = -coefficient * estimator.of(self.logprob[at], self.ref_logprob[at]);
        }
        if let Some(last) = self.places().next_back() {
            rewards[last] += self.score;
        }
        rewards
    }

    pub(super) fn places(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.real.len()).filter(|&at| self.real[at])
    }
}

impl Estimator {
    /// Computes rewards, advantages and returns of a rollout.
    ///
    /// # Panics
    ///
    /// If the columns of a trace are of different lengths.
    pub fn estimate(&self, traces: &[Trace]) -> Estimates {
        let mut rewards: Vec<Vec<f64>> =
            traces.iter().map(|trace| trace.rewards(self.kl, self.kl_coefficient)).collect();
        if self.whiten_rewards {
            scale_to_unit(with_marks(&mut rewards, traces));
        }
        rewards.iter_mut().flatten().for_each(|reward| *reward *= self.reward_scale);

        let (mut advantages, mut targets) = (Vec::new(), Vec::new());
        for (reward, trace) in rewards.iter().zip(traces) {
            let (advantage, target) = gae(reward, &trace.value, &trace.real, self.gamma, self.lambda);
            advantages.push(advantage);
            targets.push(target);
        }
        // The advantages are not whitened yet, so they are the errors of the critic.
        let n: usize = traces.iter().map(Trace::n_real).sum();
        let squares: f64 = advantages.iter().flatten().map(|advantage| advantage * advantage).sum();
        let value_error = (squares / n.max(1) as f64).sqrt();
        if self.whiten_advantages {
            whiten(with_marks(&mut advantages, traces));
        }
        let columns = rewards.into_iter().zip(advantages).zip(targets);
        let replies =
            columns.map(|((reward, advantage), target)| Estimate { reward, advantage, target }).collect();
        Estimates { replies, value_error }
    }
}

fn with_marks<'a>(
    columns: &'a mut [Vec<f64>],
    traces: &'a [Trace],
) -> impl Iterator<Item = (&'a mut [f64], &'a [bool])> {
    columns.iter_mut().map(Vec::as_mut_slice).zip(traces.iter().map(|trace| trace.real.as_slice()))
}

impl Estimate {
    /// Returns the real tokens of the reply for the objective. The values of a pass are consecutive, one per
    /// token of `trace`: the policy's start at index `policy`, the critic's at index `value`.
    pub fn tokens<'a>(
        &'a self,
        trace: &'a Trace,
        policy: usize,
        value: usize,
    ) -> impl Iterator<Item = PpoToken> + 'a {
        trace.places().map(move |at| PpoToken {
            policy: policy + at,
            value: value + at,
            old_logprob: trace.logprob[at],
            advantage: self.advantage[at],
            old_value: trace.value[at],
            target: self.target[at],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::objective::{Clip, Objective, Ppo, PpoBatch, TokenStats};

    const ESTIMATOR: Estimator = Estimator {
        gamma: 1.0,
        lambda: 0.95,
        kl: KlEstimator::K1,
        kl_coefficient: 0.05,
        reward_scale: 1.0,
        whiten_rewards: false,
        whiten_advantages: true,
    };

    fn traces() -> Vec<Trace> {
        let trace = |logprob: &[f64], ref_logprob: &[f64], value: &[f64], score| Trace {
            real: vec![true; logprob.len()],
            logprob: logprob.to_vec(),
            ref_logprob: ref_logprob.to_vec(),
            value: value.to_vec(),
            score,
        };
        vec![
            trace(&[-1.0, -0.5, -2.0], &[-1.5, -0.25, -2.0], &[0.5, 1.0, -0.25], 3.0),
            trace(&[-0.75], &[-0.25], &[0.125], -1.0),
        ]
    }

    /// The same, padded to `width` with what must not be read.
    fn padded(width: usize) -> Vec<Trace> {
        let pad = |mut column: Vec<f64>| {
            column.resize(width, f64::NAN);
            column
        };
        let padded = |mut trace: Trace| {
            trace.real.resize(width, false);
            Trace {
                logprob: pad(trace.logprob),
                ref_logprob: pad(trace.ref_logprob),
                value: pad(trace.value),
                ..trace
            }
        };
        traces().into_iter().map(padded).collect()
    }

    #[test]
    fn the_score_stands_on_the_last_real_token() {
        let rewards = padded(6)[0].rewards(KlEstimator::K1, 0.1);
        for (found, expected) in rewards.iter().zip([-0.05, 0.025, 3.0, 0.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-15, "{rewards:?}");
        }
        // In SALMON's code, the score is added to the last padded slot, after steps without a token.
        let with_hole = Trace { real: vec![true, false, true, false, false, false], ..padded(6)[0].clone() };
        let found = with_hole.rewards(KlEstimator::K1, 0.1);
        assert_eq!((found[1], found[2]), (0.0, 3.0));
    }

    #[test]
    fn replies_without_a_real_token_teach_nothing() {
        let empty = Trace { score: 9.0, ..Trace::default() };
        let pads = Trace {
            real: vec![false; 2],
            logprob: vec![f64::NAN; 2],
            ref_logprob: vec![f64::NAN; 2],
            value: vec![f64::NAN; 2],
            score: 9.0,
        };
        let alone = ESTIMATOR.estimate(&traces());
        let beside = ESTIMATOR.estimate(&[traces(), vec![empty, pads]].concat());
        assert_eq!(beside.replies[..2], alone.replies[..]);
        assert_eq!(beside.value_error, alone.value_error);
        assert_eq!(beside.replies[3].reward, [0.0; 2]);
        assert_eq!(ESTIMATOR.estimate(&[]), Estimates::default());
    }

    /// In SALMON's code, pads are part of the whitening and of the means of loss and entropy, so the gradient
    /// of a short reply depends on the longest one.
    #[test]
    fn padding_changes_neither_advantages_nor_gradients() {
        for whiten_rewards in [false, true] {
            let estimator = Estimator { whiten_rewards, ..ESTIMATOR };
            let (dense, wide) = (estimator.estimate(&traces()), estimator.estimate(&padded(7)));
            for (dense, wide) in dense.replies.iter().zip(&wide.replies) {
                let n = dense.reward.len();
                assert_eq!(dense.reward, wide.reward[..n], "bit for bit");
                assert_eq!(dense.advantage, wide.advantage[..n]);
                assert_eq!(dense.target, wide.target[..n]);
                assert!(wide.advantage[n..].iter().chain(&wide.target[n..]).all(|&pad| pad == 0.0));
            }
            assert_eq!(dense.value_error, wide.value_error);
        }
        // Gradients at the interface: the values of pads are NaN, and their gradients are 0.
        let gradients = |traces: &[Trace]| {
            let estimates = ESTIMATOR.estimate(traces);
            let (mut tokens, mut stats) = (Vec::new(), TokenStats::default());
            for (trace, estimate) in traces.iter().zip(&estimates.replies) {
                let at = stats.logprob.len();
                tokens.extend(estimate.tokens(trace, at, at));
                stats.logprob.extend(trace.logprob.iter().map(|&logprob| logprob as f32 + 0.125));
                stats.entropy.extend(trace.logprob.iter().map(|&logprob| -logprob as f32));
                stats.value.extend(trace.value.iter().map(|&value| value as f32 - 0.25));
            }
            let ppo = Ppo {
                clip: Clip::symmetric(0.2),
                value_radius: 0.2,
                value_weight: 0.1,
                entropy_weight: 0.01,
            };
            let normalizer = tokens.len() as f64;
            ppo.evaluate(&stats, &PpoBatch { tokens, normalizer })
        };
        let (dense, wide) = (gradients(&traces()), gradients(&padded(7)));
        assert_eq!((dense.loss, &dense.metrics), (wide.loss, &wide.metrics));
        assert_eq!(dense.d_logprob, [&wide.d_logprob[..3], &wide.d_logprob[7..8]].concat());
        assert_eq!(dense.d_value, [&wide.d_value[..3], &wide.d_value[7..8]].concat());
        assert!(wide.d_logprob[3..7].iter().chain(&wide.d_logprob[8..]).all(|&d| d == 0.0));
    }

    #[test]
    fn at_the_first_step_the_kl_is_exactly_zero_and_values_are_what_the_head_says() {
        let mut traces = traces();
        for trace in &mut traces {
            trace.ref_logprob = trace.logprob.clone();
            trace.value.fill(0.0);
        }
        for estimator in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3] {
            assert!(traces.iter().all(|trace| trace.kl(estimator) == 0.0));
        }
        let found = Estimator { lambda: 1.0, whiten_advantages: false, ..ESTIMATOR }.estimate(&traces);
        assert_eq!(found.replies[0].advantage, [3.0; 3], "the score, whichever token");
        assert_eq!(found.replies[1].target, [-1.0]);
        assert_eq!(found.value_error, 7f64.sqrt());
    }

    #[test]
    fn rewards_are_divided_by_their_spread_and_then_scaled() {
        let plain = ESTIMATOR.estimate(&traces());
        let whitened =
            Estimator { whiten_rewards: true, reward_scale: 10.0, ..ESTIMATOR }.estimate(&traces());
        let rewards = |found: &Estimates| -> Vec<f64> {
            found.replies.iter().flat_map(|reply| reply.reward.clone()).collect()
        };
        let (plain, whitened) = (rewards(&plain), rewards(&whitened));
        let mean = plain.iter().sum::<f64>() / 4.0;
        let spread = (plain.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
        for (plain, whitened) in plain.iter().zip(&whitened) {
            let expected = 10.0 * ((plain - mean) / spread + mean);
            assert!((whitened - expected).abs() < 1e-6, "{whitened}, expected {expected}");
        }
    }

    #[test]
    fn the_scale_of_the_reward_does_not_change_whitened_advantages() {
        let at = |reward_scale| {
            let mut traces = traces();
            traces.iter_mut().for_each(|trace| trace.value.fill(0.0));
            Estimator { reward_scale, ..ESTIMATOR }.estimate(&traces)
        };
        let (one, ten) = (at(1.0), at(10.0));
        for (one, ten) in one.replies.iter().zip(&ten.replies) {
            for (one, ten) in one.advantage.iter().zip(&ten.advantage) {
                assert!((one - ten).abs() < 1e-7);
            }
        }
        assert!((ten.value_error / one.value_error - 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_reply_as_one_action_pays_for_the_kl_of_all_its_tokens() {
        let trace = &traces()[0];
        assert!((trace.penalised(KlEstimator::K1, 0.1) - (3.0 - 0.1 * 0.25)).abs() < 1e-15);
        let rewards: f64 = trace.rewards(KlEstimator::K1, 0.1).iter().sum();
        assert!((rewards - trace.penalised(KlEstimator::K1, 0.1)).abs() < 1e-15);
    }
}
