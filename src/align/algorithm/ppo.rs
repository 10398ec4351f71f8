//! Proximal policy optimization with a critic (arXiv 1707.06347).

use super::{AlgorithmSpec, RolloutObjective, RolloutPart};
use crate::align::AlignConfig;
use crate::align::estimate::{Estimates, Estimator, Trace};
use crate::train::objective::{Evaluated, Objective, Ppo, PpoBatch, TokenStats};

pub(super) static SPEC: AlgorithmSpec = AlgorithmSpec {
    name: "ppo",
    description: "proximal policy optimization with a critic, as in SALMON (arXiv 1707.06347)",
    needs_groups: false,
    needs_critic: true,
    objective,
};

fn objective(config: &AlignConfig, traces: &[Trace], kl_coefficient: f64) -> Box<dyn RolloutObjective> {
    let estimates = config.estimator(kl_coefficient).estimate(traces);
    Box::new(PpoRollout { ppo: config.ppo(estimates.value_error), estimates })
}

/// PPO's objective with the advantages and returns of one rollout.
struct PpoRollout {
    ppo: Ppo,
    estimates: Estimates,
}

impl RolloutObjective for PpoRollout {
    fn evaluate(&self, part: &RolloutPart<'_>, stats: &TokenStats) -> Evaluated {
        let mut tokens = Vec::new();
        for place in &part.replies {
            let (estimate, trace) = (&self.estimates.replies[place.index], &part.traces[place.index]);
            tokens.extend(estimate.tokens(trace, place.policy, place.value));
        }
        self.ppo.evaluate(stats, &PpoBatch { tokens, normalizer: part.n_tokens })
    }

    fn value_error(&self) -> Option<f64> {
        Some(self.estimates.value_error)
    }
}

impl AlignConfig {
    /// PPO's loss on a rollout whose values differ from its returns by `value_error`
    /// ([`Estimates::value_error`]).
    pub fn ppo(&self, value_error: f64) -> Ppo {
        Ppo {
            clip: self.clip(),
            value_radius: self.value.clip.radius(value_error),
            value_weight: self.value.weight,
            entropy_weight: self.update.entropy_weight,
        }
    }

    /// Computes PPO's advantages and returns from rewards, at the current KL coefficient.
    pub fn estimator(&self, kl_coefficient: f64) -> Estimator {
        Estimator {
            gamma: self.update.gamma,
            lambda: self.update.lambda,
            kl: self.kl.estimator,
            kl_coefficient,
            reward_scale: self.reward.scale,
            whiten_rewards: self.reward.whiten,
            whiten_advantages: self.update.whiten_advantages,
        }
    }
}
