//! REINFORCE leave-one-out: the baseline of a reply is the mean reward of the others (arXiv 2402.14740).

use super::{AlgorithmSpec, GroupObjective, RolloutObjective};
use crate::align::AlignConfig;
use crate::align::estimate::Trace;
use crate::train::objective::{Rloo, leave_one_out};

pub(super) static SPEC: AlgorithmSpec = AlgorithmSpec {
    name: "rloo",
    description: "REINFORCE with the other replies to a prompt as baseline (arXiv 2402.14740)",
    needs_groups: true,
    needs_critic: false,
    objective,
};

fn objective(config: &AlignConfig, traces: &[Trace], kl_coefficient: f64) -> Box<dyn RolloutObjective> {
    let reward = |trace: &Trace| trace.penalised(config.kl.estimator, kl_coefficient);
    let rewards: Vec<f64> = traces.iter().map(reward).collect();
    let advantages = leave_one_out(&rewards, config.rollout.replies);
    Box::new(GroupObjective { objective: config.rloo(), advantages })
}

impl AlignConfig {
    /// RLOO's loss.
    pub fn rloo(&self) -> Rloo {
        Rloo { clip: self.clip() }
    }
}
