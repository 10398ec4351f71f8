//! Estimates of the KL divergence to the reference from the log-probabilities of sampled tokens.

use serde::{Deserialize, Serialize};

/// Estimators of `KL(pi || ref)` from one sampled token, with `d = log pi(token) - log ref(token)`, in nats
/// (Schulman, "Approximating KL divergence", 2020).
///
/// None is clamped. The released SALMON code uses `max(0, d)` for k1, which does not estimate the KL but a
/// larger quantity. If `d` is positive and negative equally often and by the same amount, it gives half the
/// mean distance instead of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`: no bias, large variance, negative for about half of the tokens. The penalty of arXiv 1909.08593
    /// (equation 2).
    #[default]
    K1,
    /// `d^2 / 2`: small variance, biased if the two distributions differ much.
    K2,
    /// `exp(-d) - 1 + d`: no bias, small variance, never negative. Used by GRPO (arXiv 2402.03300, equation
    /// 4).
    K3,
}

impl KlEstimator {
    /// Returns the estimate from a token's log-probability and the reference's, in nats.
    ///
    /// ```
    /// use parr::train::objective::KlEstimator;
    ///
    /// assert_eq!(KlEstimator::K1.of(-2.0, -1.5), -0.5);
    /// assert_eq!(KlEstimator::K3.of(-2.0, -2.0), 0.0);
    /// ```
    pub fn of(self, logprob: f64, ref_logprob: f64) -> f64 {
        let d = logprob - ref_logprob;
        match self {
            KlEstimator::K1 => d,
            KlEstimator::K2 => 0.5 * d * d,
            // Near 0, exp(-d) - 1 and d cancel. With exp_m1 the error stays at 1e-16.
            KlEstimator::K3 => (-d).exp_m1() + d,
        }
    }

    /// Returns the derivative of the estimate by the log-probability.
    pub fn slope(self, logprob: f64, ref_logprob: f64) -> f64 {
        let d = logprob - ref_logprob;
        match self {
            KlEstimator::K1 => 1.0,
            KlEstimator::K2 => d,
            KlEstimator::K3 => -(-d).exp_m1(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [KlEstimator; 3] = [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3];

    /// Expectation of the estimate under `p`, over all tokens.
    fn expected(estimator: KlEstimator, p: &[f64], q: &[f64]) -> f64 {
        p.iter().zip(q).map(|(p, q)| p * estimator.of(p.ln(), q.ln())).sum()
    }

    #[test]
    fn k1_and_k3_have_the_divergence_as_their_mean() {
        let (p, q) = ([0.5, 0.3, 0.15, 0.05], [0.1, 0.4, 0.2, 0.3]);
        let kl: f64 = p.iter().zip(&q).map(|(p, q): (&f64, &f64)| p * (p / q).ln()).sum();
        assert!((expected(KlEstimator::K1, &p, &q) - kl).abs() < 1e-15);
        assert!((expected(KlEstimator::K3, &p, &q) - kl).abs() < 1e-15);
        // k2 is close if the two distributions are close.
        let near = [0.48, 0.31, 0.16, 0.05];
        let kl: f64 = p.iter().zip(&near).map(|(p, q): (&f64, &f64)| p * (p / q).ln()).sum();
        assert!((expected(KlEstimator::K2, &p, &near) / kl - 1.0).abs() < 0.02);
    }

    /// With two equal distributions and noise, `d` is positive for half of the tokens and negative for the
    /// others.
    #[test]
    fn the_kl_is_not_clamped_at_zero_per_token() {
        let noisy = [0.25, -0.25, 1.0, -1.0];
        let sum: f64 = noisy.iter().map(|d| KlEstimator::K1.of(-3.0 + d, -3.0)).sum();
        assert_eq!(sum, 0.0, "clamped it would be 1.25");
        assert_eq!(KlEstimator::K1.of(-4.0, -3.0), -1.0);
    }

    #[test]
    fn equal_log_probabilities_are_exactly_zero_apart() {
        for estimator in ALL {
            for logprob in [0.0, -1e-30, -0.1, -17.3] {
                assert_eq!(estimator.of(logprob, logprob), 0.0, "{estimator:?}");
            }
        }
        assert!(KlEstimator::K3.of(-1.0, -1.0 - 1e-7) > 4e-15, "no cancellation near 0");
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let step = 1e-5;
        for estimator in ALL {
            for (logprob, reference) in [(-1.0, -1.5), (-2.0, -0.5), (-3.0, -3.0), (-0.1, -4.0)] {
                let at = |by: f64| estimator.of(logprob + by, reference);
                let expected = (at(step) - at(-step)) / (2.0 * step);
                let found = estimator.slope(logprob, reference);
                assert!((found - expected).abs() < 1e-8, "{estimator:?}: {found}, expected {expected}");
            }
        }
    }
}
