//! The settings of reinforcement learning: defaults for small models, and those of SALMON.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;
use super::estimate::{CollapseConfig, KlConfig, LengthConfig, UnfinishedConfig, ValueClip};
use crate::settings::{Auto, Faults, Settings, Share};
use crate::train::config::{
    BatchConfig, CheckpointConfig, Decay, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    RunSettings, ScheduleConfig,
};
use crate::train::objective::{Aggregate, Clip, GroupScale};

/// Reinforcement learning of an adapter by one of the [`ALGORITHMS`](super::ALGORITHMS).
///
/// From a file by [`Settings::read`], which completes tables that are there in part from the preset.
/// `serde` alone would complete them from the defaults of their own types, which SFT shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignConfig {
    /// What a setting is that is not said.
    pub preset: Preset,
    /// Everything random in the run follows from it, each sample by its own name: draws of one step differ.
    pub seed: u64,
    /// The algorithm that trains the policy.
    pub algorithm: Algorithm,
    /// How often each prompt is answered; parts of an epoch are possible. 2 as in SALMON.
    pub epochs: f64,
    /// Rollouts; `auto` for as many as [`AlignConfig::epochs`] make. A number overrules the epochs.
    pub steps: Auto,
    /// The policy's adapter, and the critic's.
    pub lora: LoraSettings,
    /// How gradients become changes.
    pub optimizer: OptimizerConfig,
    /// The learning rate over the rollouts.
    pub schedule: ScheduleConfig,
    /// What is sampled in one step.
    pub rollout: RolloutConfig,
    /// What is learned from it.
    pub update: UpdateConfig,
    /// The critic; PPO only.
    pub value: ValueConfig,
    /// How replies of a group are weighed; GRPO only.
    pub grpo: GrpoConfig,
    /// What it costs to leave the reference.
    pub kl: KlConfig,
    /// The terms of a reply's reward.
    pub reward: RewardTermsConfig,
    /// When the run is given up.
    pub collapse: CollapseConfig,
    /// Saving what a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// What is traded for memory.
    pub memory: MemoryConfig,
}

/// Settings to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// For models of up to a billion weights on one device: [`AlignConfig::default`].
    #[default]
    Small,
    /// The paper's: [`AlignConfig::salmon`].
    Salmon,
}

/// What is sampled in one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// Prompts per step. 32; SALMON has 576 on 48 GPUs. Whitening needs at least 8.
    pub prompts: usize,
    /// Replies to each prompt. 1 for PPO. Algorithms that compare replies to a prompt, such as GRPO and RLOO,
    /// need at least 2.
    pub replies: usize,
    /// Logits are divided by it, in sampling and in every log-probability. 1, for which the two need no word
    /// with each other; SALMON has 0.7.
    pub temperature: f64,
    /// Most tokens of a prompt. Longer ones are left out. 128; SALMON has 256.
    pub max_prompt_tokens: usize,
    /// A reply is cut off there. 128; SALMON has 1024.
    pub max_reply_tokens: usize,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        RolloutConfig {
            prompts: 32,
            replies: 1,
            temperature: 1.0,
            max_prompt_tokens: 128,
            max_reply_tokens: 128,
        }
    }
}

/// What is learned from one rollout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateConfig {
    /// How often each reply of a rollout is learned from. 4 as in TRL; SALMON has 2.
    pub epochs: usize,
    /// Updates that an epoch is cut into. 1 as in TRL; SALMON has 2.
    pub mini_batches: usize,
    /// The ratio counts down to 1 less this. 0.2 as in arXiv 1707.06347 and SALMON.
    pub clip_low: f64,
    /// It counts up to 1 and this. 0.2 as there; 0.28 keeps unlikely tokens explored (arXiv 2503.14476).
    pub clip_high: f64,
    /// Weight of the entropy bonus; PPO only. 0 as in SALMON and TRL.
    pub entropy_weight: f64,
    /// Discount of what is one token later. 1 as in SALMON and TRL: a reply is judged as a whole.
    pub gamma: f64,
    /// Weight of rewards against the critic's word. 0.95 as in TRL and arXiv 2203.02155; SALMON has 1.
    pub lambda: f64,
    /// Whether advantages get mean 0 and variance 1 over the real tokens of the rollout; PPO only. As in SALMON and
    /// TRL.
    pub whiten_advantages: bool,
    /// Updates on a rollout end once the policy is more than 1.5 times this from it, in nats a token by
    /// `policy/approxkl_avg`; `inf` for never, as in SALMON, whose code has such a setting and never reads it.
    pub target_kl: f64,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        UpdateConfig {
            epochs: 4,
            mini_batches: 1,
            clip_low: 0.2,
            clip_high: 0.2,
            entropy_weight: 0.0,
            gamma: 1.0,
            lambda: 0.95,
            whiten_advantages: true,
            target_kl: f64::INFINITY,
        }
    }
}

/// The critic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueConfig {
    /// Weight of its loss. 0.1 as in SALMON and TRL.
    pub weight: f64,
    /// How far a value may be moved by one rollout: `off`, or a part of the distance between values and returns.
    /// Off, since it was found to hurt (arXiv 2006.05990, section 3.2). SALMON and TRL have 0.2 in the units of
    /// the returns, which throttles the critic where returns are large.
    pub clip: ValueClip,
    /// Whether it reads the policy's hidden state instead of having an adapter of its own: less memory, but the
    /// two disturb each other. No, as in SALMON.
    pub share_trunk: bool,
}

impl Default for ValueConfig {
    fn default() -> Self {
        ValueConfig { weight: 0.1, clip: ValueClip::Off, share_trunk: false }
    }
}

/// How replies of a group are weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// What the deviations of a group are divided by: `group`, its standard deviation, as in arXiv 2402.03300, or
    /// `none` as in arXiv 2503.20783.
    pub scale: GroupScale,
    /// What a token counts: `reply` as in arXiv 2402.03300, `token` as in arXiv 2503.14476, `constant` as in arXiv
    /// 2503.20783.
    pub aggregate: Aggregate,
}

/// The terms of a reply's reward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardTermsConfig {
    /// Weight of each source by its name; 1 for those that are not named.
    pub weights: BTreeMap<String, f64>,
    /// Replies that were cut off.
    pub unfinished: UnfinishedConfig,
    /// The source `length`.
    pub length: LengthConfig,
    /// What all rewards are multiplied with before the critic sees them; PPO only. 1; SALMON's code has 10 where
    /// rewards are not whitened.
    pub scale: f64,
    /// Whether rewards are divided by their standard deviation over the real tokens of the rollout, mean kept;
    /// PPO only. No, as in SALMON's script and TRL.
    pub whiten: bool,
}

impl Default for RewardTermsConfig {
    fn default() -> Self {
        RewardTermsConfig {
            weights: BTreeMap::new(),
            unfinished: UnfinishedConfig::default(),
            length: LengthConfig::default(),
            scale: 1.0,
            whiten: false,
        }
    }
}

impl RewardTermsConfig {
    /// The weight of a source.
    pub fn weight(&self, source: &str) -> f64 {
        self.weights.get(source).copied().unwrap_or(1.0)
    }
}

impl Default for AlignConfig {
    fn default() -> Self {
        AlignConfig {
            preset: Preset::Small,
            seed: 0,
            algorithm: Algorithm::PPO,
            epochs: 2.0,
            steps: Auto::Auto,
            lora: LoraSettings::default(),
            // SALMON's code has 2e-4, its script for 70 billion weights and 520 rollouts 2e-5: between the two
            // for a model a hundredth of that size and as many rollouts as a small budget allows.
            optimizer: OptimizerConfig { learning_rate: 1e-4, ..OptimizerConfig::default() },
            // A rollout costs what fifty steps of SFT do, and one at a rate of 0 teaches nothing.
            schedule: ScheduleConfig { warmup: Share::Count(0), ..ScheduleConfig::default() },
            rollout: RolloutConfig::default(),
            update: UpdateConfig::default(),
            value: ValueConfig::default(),
            grpo: GrpoConfig::default(),
            kl: KlConfig::default(),
            reward: RewardTermsConfig::default(),
            collapse: CollapseConfig::default(),
            // A rollout costs what fifty steps of SFT do.
            checkpoint: CheckpointConfig { every: 10, keep: 2 },
            memory: MemoryConfig::default(),
        }
    }
}

impl AlignConfig {
    /// The settings that a preset stands for.
    pub fn preset(preset: Preset) -> AlignConfig {
        match preset {
            Preset::Small => AlignConfig::default(),
            Preset::Salmon => AlignConfig::salmon(),
        }
    }

    /// SALMON's settings (arXiv 2310.05910), as its released script for a model of 70 billion weights has them;
    /// batch and lengths want to be made smaller for anything else.
    ///
    /// Where the released code does not do what it means to, the settings do: the KL is not clamped, only real
    /// tokens count, and the critic's clip of 0.2 is a part of the distance that it has to go, instead of 0.2 in the
    /// units of returns of tens.
    pub fn salmon() -> AlignConfig {
        AlignConfig {
            preset: Preset::Salmon,
            seed: 42,
            lora: LoraSettings { rank: 64, alpha: 16.0, ..LoraSettings::default() },
            optimizer: OptimizerConfig { learning_rate: 2e-5, ..OptimizerConfig::default() },
            schedule: ScheduleConfig { decay: Decay::Cosine, warmup: Share::Count(5), floor: 0.0 },
            rollout: RolloutConfig {
                prompts: 576,
                replies: 1,
                temperature: 0.7,
                max_prompt_tokens: 256,
                max_reply_tokens: 1024,
            },
            update: UpdateConfig { epochs: 2, mini_batches: 2, lambda: 1.0, ..UpdateConfig::default() },
            value: ValueConfig { clip: ValueClip::Returns(0.2), ..ValueConfig::default() },
            kl: KlConfig { coefficient: 0.01, ..KlConfig::default() },
            reward: RewardTermsConfig {
                unfinished: UnfinishedConfig { penalty: 6.0, replace: false },
                length: LengthConfig { score: 5.0, ..LengthConfig::default() },
                scale: 10.0,
                ..RewardTermsConfig::default()
            },
            ..AlignConfig::default()
        }
    }

    /// Those that every run has.
    pub fn run_settings(&self) -> RunSettings {
        RunSettings {
            seed: self.seed,
            epochs: self.epochs,
            steps: self.steps,
            lora: self.lora.clone(),
            optimizer: self.optimizer,
            schedule: self.schedule,
            batch: BatchConfig { sequences: self.samples(), micro_batch: Auto::Auto },
            evaluation: EvaluationConfig::default(),
            checkpoint: self.checkpoint,
            memory: self.memory,
        }
    }

    /// Replies of a rollout.
    pub fn samples(&self) -> usize {
        self.rollout.prompts * self.rollout.replies
    }

    /// Rollouts of a run over `prompts` prompts: as set, or as many as the epochs make, the last one over the
    /// end if they do not divide.
    pub fn total_steps(&self, prompts: usize) -> u64 {
        match self.steps {
            Auto::Fixed(steps) => steps as u64,
            Auto::Auto => ((self.epochs * prompts as f64 / self.rollout.prompts as f64).ceil() as u64).max(1),
        }
    }

    /// Bounds of the ratio.
    pub fn clip(&self) -> Clip {
        Clip { low: self.update.clip_low, high: self.update.clip_high }
    }
}

impl Settings for AlignConfig {
    const SAMPLE: &'static str = include_str!("../../../examples/align.toml");

    fn preset_of(&self) -> Self {
        AlignConfig::preset(self.preset)
    }

    fn check(&self, faults: &mut Faults) {
        check::check(self, faults);
    }

    /// How often is saved may change between parts of a run, and what is traded for memory.
    fn without_side_settings(&self) -> Self {
        let mut settings = self.clone();
        // Says only where the other values come from.
        settings.preset = Preset::Small;
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings
    }
}
