//! Group relative policy optimization (arXiv 2402.03300).

use super::{AlgorithmSpec, GroupObjective, RolloutObjective};
use crate::align::AlignConfig;
use crate::align::estimate::Trace;
use crate::train::objective::{Grpo, group_advantages};

pub(super) static SPEC: AlgorithmSpec = AlgorithmSpec {
    name: "grpo",
    description: "group relative policy optimization, without a critic (arXiv 2402.03300)",
    needs_groups: true,
    needs_critic: false,
    objective,
};

/// The KL is part of the loss, not of the reward.
fn objective(config: &AlignConfig, traces: &[Trace], kl_coefficient: f64) -> Box<dyn RolloutObjective> {
    let scores: Vec<f64> = traces.iter().map(|trace| trace.score).collect();
    let advantages = group_advantages(&scores, config.rollout.replies, config.grpo.scale);
    Box::new(GroupObjective { objective: config.grpo(kl_coefficient), advantages })
}

impl AlignConfig {
    /// GRPO's loss at the current KL coefficient.
    pub fn grpo(&self, kl_coefficient: f64) -> Grpo {
        Grpo {
            clip: self.clip(),
            kl_weight: kl_coefficient,
            aggregate: self.grpo.aggregate,
            longest: self.rollout.max_reply_tokens,
        }
    }
}
