//! The figures of a step of reinforcement learning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Metrics;
use crate::generate::Pace;
use crate::principles::PromptType;

/// One step of reinforcement learning: a rollout and the updates on it. Names are those of TRL's PPO trainer
/// where it has the figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlignMetrics {
    /// Steps done, this one included.
    pub step: u64,
    /// `episode`: replies sampled in the run so far.
    pub episode: u64,
    /// `train/epoch`: passes over the prompts so far, with the fraction of the current one.
    pub epoch: f64,
    /// `lr`: learning rate of the updates.
    pub learning_rate: f64,
    /// `objective/...`, `completions/mean_length`, `val/num_eos_tokens`: the rollout.
    pub rollout: RolloutFigures,
    /// `completions/distinct_2`: fraction of distinct token pairs in the replies.
    pub distinct_2: f64,
    /// `policy/entropy`: mean entropy of a token when it was sampled.
    pub entropy: f64,
    /// `val/mean`: mean value of a token's state, before the updates. None without a critic.
    pub value: Option<f64>,
    /// `val/error`: root mean square of return minus value, before the updates. None without a critic.
    pub value_error: Option<f64>,
    /// `policy/...`, `loss/...`, `val/...`: means over the updates. Each figure is taken before its update.
    /// Empty if there was no update.
    pub updates: Vec<(&'static str, f64)>,
    /// `policy/num_updates`: number of updates.
    pub n_updates: usize,
    /// `train/grad_norm`: mean global norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// `train/logprob_distance`: the largest difference between a token's log-probability in generation and
    /// in training, at the sampling temperature.
    pub logprob_distance: f64,
    /// `train/num_tokens`: tokens computed in training so far, prompts included.
    pub num_tokens: u64,
    /// `train/tokens_per_second`: tokens of the replies divided by the duration of the step.
    pub tokens_per_second: f64,
    /// `time/sample_seconds`: duration of sampling.
    pub sample_seconds: f64,
    /// `time/prefill_seconds`, `time/decode_seconds` and `completions/decode_tokens_per_second`: the parts of
    /// sampling.
    pub pace: Pace,
    /// `time/reward_seconds`: duration of scoring, by all sources of rewards.
    pub reward_seconds: f64,
    /// `time/read_seconds`: duration of the forward passes of policy, reference and critic.
    pub read_seconds: f64,
    /// `time/update_seconds`: duration of the updates.
    pub update_seconds: f64,
    /// `train/step_seconds`: duration of the step.
    pub step_seconds: f64,
}

impl AlignMetrics {
    /// The figures that do not depend on the clock.
    pub(crate) fn lasting(&self) -> Vec<(&str, f64)> {
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

/// The figures of one rollout, as means over its replies. Names are those of TRL's PPO trainer where it has
/// the figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RolloutFigures {
    /// `objective/kl`: KL to the reference in nats per reply, by estimator k1, whatever estimator the penalty
    /// uses.
    pub kl: f64,
    /// `objective/entropy`: the sum of `-log pi` over a reply.
    pub entropy: f64,
    /// `objective/non_score_reward`: the KL penalty, as a negative reward.
    pub non_score_reward: f64,
    /// `objective/scores`: the rewards without the KL penalty.
    pub scores: f64,
    /// `objective/rlhf_reward`: the rewards with the KL penalty.
    pub rlhf_reward: f64,
    /// `objective/kl_coef`: the KL coefficient.
    pub kl_coefficient: f64,
    /// `completions/mean_length`: number of tokens that the policy sampled.
    pub mean_length: f64,
    /// `val/num_eos_tokens`: number of replies that end with an end-of-turn token. A sum, not a mean.
    pub n_ended: usize,
    /// `objective/reward/NAME`: the share of each source, by this full name.
    pub shares: Vec<(String, f64)>,
    /// `objective/principle/ID`: the mean log-odds that a reply keeps each principle that was drawn for it, by this
    /// full name. Empty without a pointwise reward model.
    pub principles: Vec<(String, f64)>,
}

impl RolloutFigures {
    /// Each figure with its name, in the order of a log.
    pub fn tags(&self) -> Vec<(&str, f64)> {
        let mut tags = vec![
            ("objective/kl", self.kl),
            ("objective/entropy", self.entropy),
            ("objective/non_score_reward", self.non_score_reward),
            ("objective/rlhf_reward", self.rlhf_reward),
            ("objective/scores", self.scores),
            ("objective/kl_coef", self.kl_coefficient),
            ("completions/mean_length", self.mean_length),
            ("val/num_eos_tokens", self.n_ended as f64),
        ];
        let by_name = self.shares.iter().chain(&self.principles);
        tags.extend(by_name.map(|(name, value)| (name.as_str(), *value)));
        tags
    }
}

/// A sampled reply with its scores: a line of `rollouts/step-*.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutSample {
    /// Id of the prompt.
    pub id: String,
    /// Type of the prompt.
    #[serde(rename = "type")]
    pub kind: PromptType,
    /// Text of the prompt.
    pub prompt: String,
    /// Ids of the principles drawn for the prompt.
    pub principles: Vec<String>,
    /// Of a pointwise reward model, the log-odds that the reply keeps each of these principles: above 0 if it rather
    /// does. Empty otherwise, and for an empty reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<f32>,
    /// The reply.
    pub reply: String,
    /// Number of tokens of the reply, the end of turn included.
    pub tokens: usize,
    /// Whether the reply ends with an end-of-turn token.
    pub ended: bool,
    /// The reward of the reply.
    pub reward: f64,
    /// The share of each source in the reward.
    pub shares: BTreeMap<String, f64>,
    /// KL of the whole reply to the reference in nats, by estimator k1.
    pub kl: f64,
}
