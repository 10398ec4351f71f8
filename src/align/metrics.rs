//! What a step reports.

use crate::align::estimate::RolloutFigures;
use crate::generate::Pace;
use crate::train::metrics::Metrics;

/// One step: a rollout and the updates on it. Names are those of TRL's PPO trainer where it has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlignMetrics {
    /// Steps done, this one included.
    pub step: u64,
    /// `episode`: replies sampled in the run up to here.
    pub episode: u64,
    /// `train/epoch`: how often the prompts were answered, with the part of the current pass.
    pub epoch: f64,
    /// `lr` of the updates.
    pub learning_rate: f64,
    /// `objective/...`, `completions/mean_length`, `val/num_eos_tokens`: the rollout.
    pub rollout: RolloutFigures,
    /// `completions/distinct_2`: how many pairs of tokens in the replies are different ones.
    pub distinct_2: f64,
    /// `policy/entropy`: mean entropy of a token when it was sampled, in nats.
    pub entropy: f64,
    /// `val/mean`: mean value of a token's state, before the updates; with a critic.
    pub value: Option<f64>,
    /// `val/error`: root mean square of return less value, before the updates; with a critic.
    pub value_error: Option<f64>,
    /// `policy/...`, `loss/...`, `val/...`: means over the updates, each figure taken before its update. Empty
    /// where none was made.
    pub updates: Vec<(&'static str, f64)>,
    /// `policy/num_updates`: updates that were made.
    pub n_updates: usize,
    /// `train/grad_norm`: mean norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// `train/logprob_distance`: the largest difference between a token's log-probability in generation and in
    /// training, in nats, at the temperature of the draws.
    pub logprob_distance: f64,
    /// `train/num_tokens`: tokens computed in training of the run up to here, those of prompts included.
    pub num_tokens: u64,
    /// `train/tokens_per_second`: tokens of the replies by the seconds of the step.
    pub tokens_per_second: f64,
    /// `time/sample_seconds`: sampling. `time/prefill_seconds`, `time/decode_seconds` and
    /// `completions/decode_tokens_per_second` are how that went.
    pub sample_seconds: f64,
    /// How prompts were read and replies written.
    pub pace: Pace,
    /// `time/reward_seconds`: all sources of rewards.
    pub reward_seconds: f64,
    /// `time/read_seconds`: reading the replies by policy, reference and critic.
    pub read_seconds: f64,
    /// `time/update_seconds`: the updates.
    pub update_seconds: f64,
    /// `train/step_seconds`: all of it.
    pub step_seconds: f64,
}

impl AlignMetrics {
    /// Figures that depend on nothing but the run: without the clock.
    pub(super) fn lasting(&self) -> Vec<(&str, f64)> {
        let mut tags = self.rollout.tags();
        tags.push(("completions/distinct_2", self.distinct_2));
        tags.push(("policy/entropy", self.entropy));
        tags.extend(self.updates.iter().copied());
        tags.push(("policy/num_updates", self.n_updates as f64));
        tags.extend(self.value.map(|value| ("val/mean", value)));
        tags.extend(self.value_error.map(|error| ("val/error", error)));
        tags
    }
}

impl Metrics for AlignMetrics {
    fn step(&self) -> u64 {
        self.step
    }

    fn tags(&self) -> Vec<(&str, f64)> {
        let mut tags = self.lasting();
        tags.extend([
            ("lr", self.learning_rate),
            ("episode", self.episode as f64),
            ("train/epoch", self.epoch),
            ("train/grad_norm", self.grad_norm),
            ("train/num_tokens", self.num_tokens as f64),
            ("train/tokens_per_second", self.tokens_per_second),
            ("time/sample_seconds", self.sample_seconds),
            ("time/prefill_seconds", self.pace.prefill_seconds),
            ("time/decode_seconds", self.pace.decode_seconds),
            ("time/reward_seconds", self.reward_seconds),
            ("time/read_seconds", self.read_seconds),
            ("time/update_seconds", self.update_seconds),
            ("train/step_seconds", self.step_seconds),
            ("train/logprob_distance", self.logprob_distance),
        ]);
        tags.extend(self.pace.decode_rate().map(|rate| ("completions/decode_tokens_per_second", rate)));
        tags
    }
}
