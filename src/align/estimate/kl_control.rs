//! The coefficient of the KL penalty, fixed or adaptive.

use crate::train::objective::KlEstimator;
use serde::{Deserialize, Serialize};

/// Settings of the KL penalty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlConfig {
    /// Estimator of a token's KL for the penalty: `k1`, `k2` or `k3`. k1 as in arXiv 1909.08593 and SALMON,
    /// but without the clamp of SALMON's code. GRPO always uses k3 in its loss.
    pub estimator: KlEstimator,
    /// Coefficient of the KL penalty (beta), in the units of the reward. 0.05 as in TRL. SALMON uses 0.01,
    /// and GRPO's paper 0.04 for the KL in its loss.
    pub coefficient: f64,
    /// Whether the coefficient is adapted to keep the KL near `target`. SALMON's code has such a setting but
    /// never reads it.
    pub adaptive: bool,
    /// Target KL, in nats per reply. 6 as in arXiv 1909.08593.
    pub target: f64,
    /// Relative change of the coefficient per rollout, as a fraction of the relative error. 0.1 as in
    /// arXiv 1909.08593 (K_beta).
    pub rate: f64,
}

impl Default for KlConfig {
    fn default() -> Self {
        KlConfig { estimator: KlEstimator::K1, coefficient: 0.05, adaptive: false, target: 6.0, rate: 0.1 }
    }
}

/// The KL coefficient over the rollouts of a run. Its only state is the coefficient.
///
/// If adaptive, it follows arXiv 1909.08593, section 2.2: `beta <- beta (1 + rate e)`, where
/// `e = clip(kl / target - 1, -0.2, 0.2)`. Otherwise it does not change.
///
/// ```
/// use parr::align::estimate::{KlConfig, KlController};
///
/// let config = KlConfig { coefficient: 0.1, adaptive: true, target: 6.0, rate: 0.1, ..KlConfig::default() };
/// let mut controller = KlController::new(&config);
/// controller.update(60.0);
/// assert!((controller.coefficient - 0.1 * 1.02).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlController {
    /// KL coefficient of the next rollout. Set it to resume a run.
    pub coefficient: f64,
    steer: Option<(f64, f64)>,
}

impl KlController {
    /// Creates the controller of a new run.
    pub fn new(config: &KlConfig) -> KlController {
        let KlConfig { coefficient, adaptive, target, rate, .. } = *config;
        KlController { coefficient, steer: adaptive.then_some((target, rate)) }
    }

    /// Updates the coefficient from a rollout's mean KL, in nats per reply (k1). NaN changes nothing. A run
    /// should stop because of the NaN itself, not because of a wrong coefficient later.
    pub fn update(&mut self, kl: f64) {
        if let Some((target, rate)) = self.steer
            && !kl.is_nan()
        {
            self.coefficient *= 1.0 + rate * (kl / target - 1.0).clamp(-0.2, 0.2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptive() -> KlConfig {
        KlConfig { coefficient: 0.05, adaptive: true, ..KlConfig::default() }
    }

    /// In SALMON's code `adaptive_kl`, `target_kl` and `k_beta` are never read.
    #[test]
    fn adaptive_kl_target_and_rate_are_not_dead_options() {
        let after = |config: KlConfig| {
            let mut controller = KlController::new(&config);
            controller.update(6.5);
            controller.coefficient
        };
        let base = after(adaptive());
        assert_ne!(base, after(KlConfig { adaptive: false, ..adaptive() }));
        assert_ne!(base, after(KlConfig { target: 3.0, ..adaptive() }));
        assert_ne!(base, after(KlConfig { rate: 0.2, ..adaptive() }));
        assert_eq!(after(KlConfig { adaptive: false, ..adaptive() }), 0.05, "fixed");
    }

    #[test]
    fn one_rollout_moves_it_by_two_percent_at_most() {
        for (kl, factor) in [(6.0, 1.0), (6.6, 1.01), (5.4, 0.99), (600.0, 1.02), (0.0, 0.98), (-3.0, 0.98)] {
            let mut controller = KlController::new(&adaptive());
            controller.update(kl);
            assert!((controller.coefficient / 0.05 - factor).abs() < 1e-12, "KL {kl}");
        }
    }

    /// If a policy's KL is inversely proportional to the coefficient, it reaches the target and stays there.
    #[test]
    fn it_settles_at_the_target() {
        let mut controller = KlController::new(&adaptive());
        for _ in 0..500 {
            controller.update(1.5 / controller.coefficient);
        }
        assert!((1.5 / controller.coefficient - 6.0).abs() < 1e-6);
    }

    #[test]
    fn a_run_resumes_from_the_coefficient_alone() {
        let mut whole = KlController::new(&adaptive());
        whole.update(9.0);
        let text = serde_json::to_string(&whole.coefficient).expect("a number");
        let mut resumed = KlController::new(&adaptive());
        resumed.coefficient = serde_json::from_str(&text).expect("a number");
        whole.update(2.0);
        resumed.update(2.0);
        assert_eq!(whole, resumed, "bit for bit");
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        let mut controller = KlController::new(&adaptive());
        controller.update(f64::NAN);
        assert_eq!(controller.coefficient, 0.05);
    }
}
