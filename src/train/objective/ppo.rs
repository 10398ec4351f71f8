//! Proximal policy optimization with a critic (arXiv 1707.06347).

use super::clip::{Clip, RatioFigures, value_error};
use super::{Evaluated, Objective, TokenStats};

/// `loss = sum_t (policy_t + value_weight value_t - entropy_weight entropy_t) / normalizer` over the real
/// tokens of replies (equation 9 of the paper), where
///
/// * `policy_t = max(-A_t r_t, -A_t clip(r_t, 1 - low, 1 + high))`, `r_t = exp(logprob_t - old_logprob_t)`;
/// * `value_t = max((V_t - G_t)^2, (held_t - G_t)^2) / 2`, and `held_t` is `V_t` clipped to within
///   `value_radius` of its value at the rollout.
///
/// [`PpoBatch::tokens`] holds only real tokens, no pads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ppo {
    /// Bounds of the ratio.
    pub clip: Clip,
    /// Maximum change of a value from the rollout, in the units of the returns. Infinite for no limit. A
    /// radius that does not grow with the returns keeps the critic from learning.
    /// [`ValueClip::radius`](crate::align::estimate::ValueClip::radius) returns one that grows.
    pub value_radius: f64,
    /// Weight of the critic's loss.
    pub value_weight: f64,
    /// Weight of the entropy bonus.
    pub entropy_weight: f64,
}

/// One real token of a reply: the indices of its values in a pass, and its figures from the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PpoToken {
    /// Index of the policy's log-probability and entropy among the scored tokens.
    pub policy: usize,
    /// Index of the critic's value of the state *before* the token. The same as `policy` if both share a
    /// trunk.
    pub value: usize,
    /// Log-probability at the rollout, in nats. If the pass that trains also computed it, the ratio of the
    /// first update is exactly 1.
    pub old_logprob: f64,
    /// Advantage of the token (A), whitened or not.
    pub advantage: f64,
    /// Value at the rollout, in the units of the returns.
    pub old_value: f64,
    /// Return, the target of the value (G).
    pub target: f64,
}

/// The tokens of a part of a mini-batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PpoBatch {
    /// Real tokens (N).
    pub tokens: Vec<PpoToken>,
    /// Number of real tokens of the whole mini-batch, not of this part. Above 0.
    pub normalizer: f64,
}

/// The current values of the models for one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PpoReading {
    /// The policy's log-probability, in nats.
    pub logprob: f64,
    /// Entropy of the token's distribution, in nats.
    pub entropy: f64,
    /// The critic's value.
    pub value: f64,
}

/// Losses of a part of a mini-batch, before their weights, and gradients of the weighted sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PpoLosses {
    /// Share of the policy's loss.
    pub policy: f64,
    /// Share of the critic's loss.
    pub value: f64,
    /// Share of the mean entropy.
    pub entropy: f64,
    /// Derivative of the weighted sum by each log-probability (N).
    pub d_logprob: Vec<f64>,
    /// Derivative of the weighted sum by each entropy (N).
    pub d_entropy: Vec<f64>,
    /// Derivative of the weighted sum by each value (N).
    pub d_value: Vec<f64>,
    ratios: RatioFigures,
    values_clipped: f64,
}

impl Ppo {
    /// Computes the losses in double precision. [`Objective::evaluate`] calls it with the device's values.
    ///
    /// # Panics
    ///
    /// If `now` and `tokens` have different lengths.
    pub fn losses(&self, now: &[PpoReading], tokens: &[PpoToken], normalizer: f64) -> PpoLosses {
        assert_eq!(now.len(), tokens.len(), "a reading for each token");
        debug_assert!(normalizer > 0.0, "a mini-batch without tokens");
        let share = 1.0 / normalizer;
        let mut losses = PpoLosses::default();
        for (now, token) in now.iter().zip(tokens) {
            let log_ratio = now.logprob - token.old_logprob;
            let policy = self.clip.surrogate(token.advantage, log_ratio);
            let value = value_error(now.value, token.old_value, token.target, self.value_radius);
            losses.policy += share * policy.loss;
            losses.value += share * value.loss;
            losses.entropy += share * now.entropy;
            losses.d_logprob.push(share * policy.d_logprob);
            losses.d_entropy.push(-share * self.entropy_weight);
            losses.d_value.push(share * self.value_weight * value.d_value);
            losses.ratios.add(share, log_ratio, &policy);
            losses.values_clipped += share * f64::from(u8::from(value.clipped));
        }
        losses
    }

    /// The weighted sum of the losses.
    pub fn total(&self, losses: &PpoLosses) -> f64 {
        // With weight 0, an infinite entropy would make the loss NaN.
        let bonus = if self.entropy_weight == 0.0 { 0.0 } else { self.entropy_weight * losses.entropy };
        losses.policy + self.value_weight * losses.value - bonus
    }
}

impl Objective for Ppo {
    type Batch = PpoBatch;

    /// Adds means over the real tokens, under TRL's names: `loss/policy_avg`, `loss/value_avg`,
    /// `policy/approxkl_avg`, `policy/clipfrac_avg`, `policy/entropy_avg`, `val/clipfrac_avg` and
    /// `val/ratio`.
    fn evaluate(&self, stats: &TokenStats, batch: &PpoBatch) -> Evaluated {
        let reading = |token: &PpoToken| PpoReading {
            logprob: stats.logprob[token.policy].into(),
            entropy: stats.entropy[token.policy].into(),
            value: stats.value[token.value].into(),
        };
        let now: Vec<PpoReading> = batch.tokens.iter().map(reading).collect();
        let losses = self.losses(&now, &batch.tokens, batch.normalizer);
        let mut evaluated = stats.zeros();
        evaluated.loss = self.total(&losses);
        for (at, token) in batch.tokens.iter().enumerate() {
            evaluated.d_logprob[token.policy] = losses.d_logprob[at] as f32;
            evaluated.d_entropy[token.policy] = losses.d_entropy[at] as f32;
            evaluated.d_value[token.value] = losses.d_value[at] as f32;
        }
        evaluated.metrics = vec![
            ("loss/policy_avg", losses.policy),
            ("loss/value_avg", losses.value),
            ("policy/entropy_avg", losses.entropy),
            ("val/clipfrac_avg", losses.values_clipped),
        ];
        evaluated.metrics.extend(losses.ratios.named());
        evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::super::{add_metrics, differences};
    use super::*;

    const PPO: Ppo =
        Ppo { clip: Clip::symmetric(0.2), value_radius: 0.5, value_weight: 0.1, entropy_weight: 0.01 };

    /// Values of a policy at 0..4, of its critic at 4..8, and of another role at 8.
    fn stats() -> TokenStats {
        TokenStats {
            logprob: vec![-1.0, -0.5, -2.25, -3.0, 0.0, 0.0, 0.0, 0.0, -9.0],
            entropy: vec![2.0, 1.0, 0.5, 1.5, 0.0, 0.0, 0.0, 0.0, 7.0],
            value: vec![0.0, 0.0, 0.0, 0.0, 1.0, -0.5, 2.0, 3.0, 0.0],
        }
    }

    fn batch() -> PpoBatch {
        let token = |place: usize, old_logprob, advantage, old_value, target| PpoToken {
            policy: place,
            value: 4 + place,
            old_logprob,
            advantage,
            old_value,
            target,
        };
        // Gain and loss, within and beyond the bounds, on both sides.
        let tokens = vec![
            token(0, -1.05, 1.5, 0.75, 2.0),
            token(1, -1.25, 0.5, 0.5, 1.0),
            token(2, -1.5, 2.0, 0.25, 5.0),
            token(3, -2.0, -1.0, 2.9, -4.0),
        ];
        PpoBatch { tokens, normalizer: 4.0 }
    }

    fn metric(evaluated: &Evaluated, name: &str) -> f64 {
        evaluated.metrics.iter().find(|(known, _)| *known == name).expect("the metric is reported").1
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for value_radius in [0.5, f64::INFINITY] {
            differences::check(&Ppo { value_radius, ..PPO }, &stats(), &batch());
        }
        differences::check(&Ppo { clip: Clip::OFF, ..PPO }, &stats(), &batch());
    }

    #[test]
    fn the_first_ratio_is_exactly_one_when_old_log_probabilities_are_the_pass_s_own() {
        let (stats, mut batch) = (stats(), batch());
        for token in &mut batch.tokens {
            token.old_logprob = stats.logprob[token.policy].into();
        }
        let found = PPO.evaluate(&stats, &batch);
        assert_eq!(metric(&found, "val/ratio"), 1.0);
        assert_eq!(metric(&found, "policy/approxkl_avg"), 0.0);
        assert_eq!(metric(&found, "policy/clipfrac_avg"), 0.0);
        let advantages: Vec<f32> = batch.tokens.iter().map(|token| -token.advantage as f32 / 4.0).collect();
        assert_eq!(found.d_logprob[..4], advantages, "the plain policy gradient");
    }

    #[test]
    fn readings_of_other_roles_get_no_gradient() {
        let found = PPO.evaluate(&stats(), &batch());
        assert_eq!((found.d_logprob[8], found.d_entropy[8], found.d_value[8]), (0.0, 0.0, 0.0));
        assert_eq!(found.d_logprob[4..8], [0.0; 4]);
        assert_eq!(found.d_value[..4], [0.0; 4]);
        let mut other = stats();
        (other.logprob[8], other.entropy[8]) = (f32::NEG_INFINITY, f32::NAN);
        assert_eq!(PPO.evaluate(&other, &batch()), found);
    }

    #[test]
    fn metrics_are_means_over_the_real_tokens() {
        let found = PPO.evaluate(&stats(), &batch());
        let near = |name: &str, expected: f64| {
            let value = metric(&found, name);
            assert!((value - expected).abs() < 1e-6, "{name} is {value}, expected {expected}");
        };
        near("policy/entropy_avg", 5.0 / 4.0);
        near("policy/approxkl_avg", 0.5 * (0.05f64.powi(2) + 0.75f64.powi(2) * 2.0 + 1.0) / 4.0);
        // Token 1 gains beyond 1.2, token 3 loses below 0.8.
        near("policy/clipfrac_avg", 2.0 / 4.0);
        near("val/ratio", (0.05f64.exp() + 0.75f64.exp() + (-0.75f64).exp() + (-1f64).exp()) / 4.0);
        // Only value 2 is beyond the radius on the way to its target.
        near("val/clipfrac_avg", 1.0 / 4.0);
        let losses = metric(&found, "loss/policy_avg") + 0.1 * metric(&found, "loss/value_avg");
        assert!((found.loss - losses + 0.01 * 1.25).abs() < 1e-12);
    }

    #[test]
    fn parts_add_up_to_the_whole_mini_batch() {
        let (stats, batch) = (stats(), batch());
        let whole = PPO.evaluate(&stats, &batch);
        let (mut loss, mut metrics, mut d_logprob) = (0.0, Vec::new(), vec![0.0; 9]);
        for tokens in [&batch.tokens[..1], &batch.tokens[1..]] {
            let part = PPO.evaluate(&stats, &PpoBatch { tokens: tokens.to_vec(), normalizer: 4.0 });
            loss += part.loss;
            add_metrics(&mut metrics, &part.metrics);
            d_logprob.iter_mut().zip(part.d_logprob).for_each(|(sum, d)| *sum += d);
        }
        assert!((loss - whole.loss).abs() < 1e-12);
        assert_eq!(d_logprob, whole.d_logprob, "bit for bit");
        for ((name, sum), (_, expected)) in metrics.iter().zip(&whole.metrics) {
            assert!((sum - expected).abs() < 1e-12, "{name}");
        }
    }

    /// The released SALMON code clips values to within 0.2 of the old ones while returns are tens, so the
    /// critic's gradient is 0 after the first small step.
    #[test]
    fn value_learning_is_not_throttled_when_returns_are_tens() {
        let learned = |value_radius: f64| {
            let ppo = Ppo { value_radius, value_weight: 1.0, ..PPO };
            let token = PpoToken { target: 30.0, ..PpoToken::default() };
            let mut value = 0.0;
            for _ in 0..200 {
                let now = PpoReading { value, ..PpoReading::default() };
                value -= 0.1 * ppo.losses(&[now], &[token], 1.0).d_value[0];
            }
            value
        };
        assert!(learned(0.2) < 3.5, "the fault itself: one step, and no more");
        assert!((learned(f64::INFINITY) - 30.0).abs() < 1e-6);
        assert!(learned(0.2 * 30.0) >= 0.2 * 30.0, "a radius on the scale of the returns");
    }

    #[test]
    fn an_infinite_entropy_without_weight_cannot_spoil_the_loss() {
        let mut stats = stats();
        stats.entropy[0] = f32::INFINITY;
        assert!(Ppo { entropy_weight: 0.0, ..PPO }.evaluate(&stats, &batch()).loss.is_finite());
        assert!(!PPO.evaluate(&stats, &batch()).loss.is_finite());
    }
}
