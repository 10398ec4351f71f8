//! Checks the settings of reinforcement learning and reports all faults at once.

use super::{AlignConfig, RewardTermsConfig, RolloutConfig, UpdateConfig};
use crate::align::Algorithm;
use crate::align::estimate::{CollapseConfig, KlConfig, ValueClip};
use crate::settings::{Faults, MOST_ITEMS, MOST_SEED, MOST_SEQUENCES, MOST_TOKENS, positive};

/// Adds every setting of `config` that is outside its range, or contradicts another, to `faults`.
pub(super) fn check(config: &AlignConfig, faults: &mut Faults) {
    faults.at_most("seed", config.seed, MOST_SEED);
    faults.length(config.epochs, config.steps);
    faults.lora(&config.lora);
    faults.optimizer(&config.optimizer);
    faults.schedule(&config.schedule);
    faults.rollout(&config.rollout, config.algorithm);
    faults.update(&config.update);
    let samples = config.rollout.prompts.saturating_mul(config.rollout.replies);
    faults.at_most("rollout.prompts times rollout.replies", samples, MOST_SEQUENCES);
    let fits = config.update.mini_batches <= samples.max(1);
    let expected = "at most rollout.prompts times rollout.replies";
    faults.need(fits, "update.mini_batches", config.update.mini_batches, expected);
    let weight = config.value.weight;
    faults.need(positive(weight), "value.weight", weight, "a number above 0");
    let sound = !matches!(config.value.clip, ValueClip::Returns(part) if !positive(part));
    faults.need(sound, "value.clip", config.value.clip, "\"off\" or a number above 0");
    faults.kl(&config.kl);
    faults.reward(&config.reward);
    faults.collapse(&config.collapse);
    faults.checkpoint(&config.checkpoint);
    faults.memory(&config.memory);
}

impl Faults {
    fn fraction(&mut self, setting: &str, value: f64) {
        self.need((0.0..=1.0).contains(&value), setting, value, "a fraction from 0 to 1");
    }

    fn not_negative(&mut self, setting: &str, value: f64) {
        self.need(value >= 0.0 && value.is_finite(), setting, value, "0 or a number above it");
    }

    fn at_least_one(&mut self, setting: &str, value: usize) {
        self.need(value > 0, setting, value, "a number above 0");
    }

    fn rollout(&mut self, rollout: &RolloutConfig, algorithm: Algorithm) {
        self.at_least_one("rollout.prompts", rollout.prompts);
        self.at_most("rollout.prompts", rollout.prompts, MOST_SEQUENCES);
        self.at_most("rollout.replies", rollout.replies, MOST_SEQUENCES);
        self.at_most("rollout.max_prompt_tokens", rollout.max_prompt_tokens, MOST_TOKENS);
        self.at_most("rollout.max_reply_tokens", rollout.max_reply_tokens, MOST_TOKENS);
        if algorithm.spec().needs_groups {
            let expected = format!("at least 2: {algorithm} compares replies to one prompt");
            self.need(rollout.replies > 1, "rollout.replies", rollout.replies, &expected);
        } else {
            self.at_least_one("rollout.replies", rollout.replies);
        }
        let temperature = rollout.temperature;
        self.need(positive(temperature), "rollout.temperature", temperature, "a number above 0");
        self.at_least_one("rollout.max_prompt_tokens", rollout.max_prompt_tokens);
        self.at_least_one("rollout.max_reply_tokens", rollout.max_reply_tokens);
    }

    fn update(&mut self, update: &UpdateConfig) {
        self.at_least_one("update.epochs", update.epochs);
        self.at_most("update.epochs", update.epochs, 1000);
        self.at_least_one("update.mini_batches", update.mini_batches);
        let (low, high) = (update.clip_low, update.clip_high);
        self.need(low > 0.0 && low <= 1.0, "update.clip_low", low, "a number above 0 and up to 1");
        self.need(high > 0.0, "update.clip_high", high, "a number above 0, or inf");
        self.not_negative("update.entropy_weight", update.entropy_weight);
        self.fraction("update.gamma", update.gamma);
        self.fraction("update.lambda", update.lambda);
        let target = update.target_kl;
        self.need(target > 0.0, "update.target_kl", target, "a number above 0, or inf");
    }

    fn kl(&mut self, kl: &KlConfig) {
        self.not_negative("kl.coefficient", kl.coefficient);
        // An adaptive coefficient is multiplied, so it would stay at 0.
        let moves = !kl.adaptive || kl.coefficient != 0.0;
        self.need(moves, "kl.coefficient", kl.coefficient, "a number above 0 if kl.adaptive is true");
        self.need(positive(kl.target), "kl.target", kl.target, "a number above 0");
        // The error is between -0.2 and 0.2. With a rate of 5 or more, the coefficient could reach 0 and stay
        // there.
        let rate = kl.rate;
        self.need(rate > 0.0 && rate < 5.0, "kl.rate", rate, "a number above 0 and below 5");
    }

    fn reward(&mut self, reward: &RewardTermsConfig) {
        for (name, weight) in &reward.weights {
            self.need(weight.is_finite(), &format!("reward.weights.{name}"), weight, "a number");
        }
        self.not_negative("reward.unfinished.penalty", reward.unfinished.penalty);
        let length = &reward.length;
        self.not_negative("reward.length.score", length.score);
        self.not_negative("reward.length.cap", length.cap);
        for (setting, multiplier) in [
            ("reward.length.general", length.general),
            ("reward.length.reasoning", length.reasoning),
            ("reward.length.red_team", length.red_team),
        ] {
            self.need(multiplier.is_finite(), setting, multiplier, "a number");
        }
        self.need(positive(reward.scale), "reward.scale", reward.scale, "a number above 0");
    }

    fn collapse(&mut self, collapse: &CollapseConfig) {
        self.need(collapse.kl > 0.0, "collapse.kl", collapse.kl, "a number above 0, or inf");
        self.fraction("collapse.entropy", collapse.entropy);
        self.fraction("collapse.distinct_2", collapse.distinct_2);
        let window = collapse.window;
        self.need(window > 1, "collapse.window", window, "a number above 1");
        self.at_least_one("collapse.patience", collapse.patience);
        self.at_most("collapse.window", collapse.window, 1 << 20);
        self.at_most("collapse.patience", collapse.patience, MOST_ITEMS);
    }
}
