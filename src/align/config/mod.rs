//! The settings of reinforcement learning: defaults for small models, and SALMON's settings.

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
/// Read it from a file with [`Settings::read`], which fills incomplete tables from the preset. `serde` alone
/// would fill them with the defaults of their own types, which SFT shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignConfig {
    /// Preset that gives the values of settings that are left out.
    pub preset: Preset,
    /// Seed. All random draws of the run depend on it. Each sample has its own draws, so those of one step
    /// differ.
    pub seed: u64,
    /// The algorithm that trains the policy.
    pub algorithm: Algorithm,
    /// Number of times each prompt is answered. May be a fraction. 2 as in SALMON.
    pub epochs: f64,
    /// Number of rollouts. `auto` computes it from [`AlignConfig::epochs`]. A number overrides the epochs.
    pub steps: Auto,
    /// The policy's adapter, and the critic's.
    pub lora: LoraSettings,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over the rollouts.
    pub schedule: ScheduleConfig,
    /// Sampling in one step.
    pub rollout: RolloutConfig,
    /// Updates on a rollout.
    pub update: UpdateConfig,
    /// The critic. PPO only.
    pub value: ValueConfig,
    /// Weights of the replies of a group. GRPO only.
    pub grpo: GrpoConfig,
    /// The KL penalty.
    pub kl: KlConfig,
    /// The terms of a reply's reward.
    pub reward: RewardTermsConfig,
    /// Limits beyond which the run stops.
    pub collapse: CollapseConfig,
    /// Saved states that a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// Options that save memory.
    pub memory: MemoryConfig,
}

/// Presets of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Settings for models of up to a billion weights on one device: [`AlignConfig::default`].
    #[default]
    Small,
    /// Settings for a model of 100 to 200 million weights on two cores without a GPU, where a step takes less than a
    /// minute: [`AlignConfig::quick`].
    Quick,
    /// The paper's settings: [`AlignConfig::salmon`].
    Salmon,
}

/// Sampling in one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// Number of prompts per step. 32. SALMON uses 576 on 48 GPUs. Whitening needs at least 8.
    pub prompts: usize,
    /// Number of replies to each prompt. 1 for PPO. Algorithms that compare replies to a prompt, such as GRPO
    /// and RLOO, need at least 2.
    pub replies: usize,
    /// Temperature, by which logits are divided in sampling and in every log-probability. 1. SALMON uses 0.7.
    pub temperature: f64,
    /// Maximum number of tokens of a prompt. Longer prompts are left out. 128. SALMON uses 256.
    pub max_prompt_tokens: usize,
    /// Maximum number of tokens of a reply. Longer replies are cut off. 128. SALMON uses 1024.
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

/// Updates on one rollout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateConfig {
    /// Number of times each reply of a rollout is trained on. 4 as in TRL. SALMON uses 2.
    pub epochs: usize,
    /// Number of updates per epoch. 1 as in TRL. SALMON uses 2.
    pub mini_batches: usize,
    /// The ratio is clipped below at 1 minus this value. 0.2 as in arXiv 1707.06347 and SALMON.
    pub clip_low: f64,
    /// The ratio is clipped above at 1 plus this value. 0.2 as in the same sources. 0.28 explores unlikely
    /// tokens more (arXiv 2503.14476).
    pub clip_high: f64,
    /// Weight of the entropy bonus. PPO only. 0 as in SALMON and TRL.
    pub entropy_weight: f64,
    /// Discount per token. 1 as in SALMON and TRL: a reply is judged as a whole.
    pub gamma: f64,
    /// Weight of rewards against the critic's values. 0.95 as in TRL and arXiv 2203.02155. SALMON uses 1.
    pub lambda: f64,
    /// Whether advantages are scaled to mean 0 and variance 1 over the real tokens of the rollout. PPO only.
    /// As in SALMON and TRL.
    pub whiten_advantages: bool,
    /// Target KL of the policy from the rollout, in nats per token. Updates on a rollout stop once
    /// `policy/approxkl_avg` exceeds 1.5 times this value. `inf` disables it, as in SALMON, whose code has
    /// such a setting but never reads it.
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
    /// Limit of the change of a value in one rollout: `off`, or a fraction of the distance between values and
    /// returns. Off, because it was found to hurt (arXiv 2006.05990, section 3.2). SALMON and TRL use 0.2 in
    /// the units of the returns, which slows the critic down if returns are large.
    pub clip: ValueClip,
    /// Whether the critic reads the policy's hidden state instead of having its own adapter. This needs less
    /// memory, but the two disturb each other. False, as in SALMON.
    pub share_trunk: bool,
}

impl Default for ValueConfig {
    fn default() -> Self {
        ValueConfig { weight: 0.1, clip: ValueClip::Off, share_trunk: false }
    }
}

/// Weights of the replies of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// Divisor of the deviations of a group: `group`, its standard deviation, as in arXiv 2402.03300, or
    /// `none` as in arXiv 2503.20783.
    pub scale: GroupScale,
    /// Weight of a token: `reply` as in arXiv 2402.03300, `token` as in arXiv 2503.14476, `constant` as in
    /// arXiv 2503.20783.
    pub aggregate: Aggregate,
}

/// The terms of a reply's reward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardTermsConfig {
    /// Weight of each source by its name. 1 for sources that are not listed.
    pub weights: BTreeMap<String, f64>,
    /// Penalty for replies that were cut off.
    pub unfinished: UnfinishedConfig,
    /// The source `length`.
    pub length: LengthConfig,
    /// Factor of all rewards before the critic is trained on them. PPO only. 1. SALMON's code uses 10 if
    /// rewards are not whitened.
    pub scale: f64,
    /// Whether rewards are divided by their standard deviation over the real tokens of the rollout. Their
    /// mean does not change. PPO only. False, as in SALMON's script and TRL.
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
            // SALMON's code has 2e-4. Its script for 70 billion weights and 520 rollouts has 2e-5. This rate
            // is between the two, for a model a hundredth of that size and for few rollouts.
            optimizer: OptimizerConfig { learning_rate: 1e-4, ..OptimizerConfig::default() },
            // A rollout takes as long as fifty steps of SFT, and one with a rate of 0 trains nothing.
            schedule: ScheduleConfig { warmup: Share::Count(0), ..ScheduleConfig::default() },
            rollout: RolloutConfig::default(),
            update: UpdateConfig::default(),
            value: ValueConfig::default(),
            grpo: GrpoConfig::default(),
            kl: KlConfig::default(),
            reward: RewardTermsConfig::default(),
            collapse: CollapseConfig::default(),
            // A rollout takes as long as fifty steps of SFT.
            checkpoint: CheckpointConfig { every: 10, keep: 2 },
            memory: MemoryConfig::default(),
        }
    }
}

impl AlignConfig {
    /// The settings of a preset.
    pub fn preset(preset: Preset) -> AlignConfig {
        match preset {
            Preset::Small => AlignConfig::default(),
            Preset::Quick => AlignConfig::quick(),
            Preset::Salmon => AlignConfig::salmon(),
        }
    }

    /// A few updates at a high learning rate, with short replies. 18 steps take about a quarter of an hour on two
    /// cores without a GPU. The budget `policy` of a whole run, and runs of `parr serve`, start from these settings.
    pub fn quick() -> AlignConfig {
        AlignConfig {
            preset: Preset::Quick,
            // With four replies to a prompt, each reply's baseline is the mean of the others, and no critic is needed.
            algorithm: Algorithm::RLOO,
            steps: Auto::Fixed(18),
            // The backward pass stops at the first trained layer.
            lora: LoraSettings {
                rank: 8,
                alpha: 16.0,
                last_layers: Auto::Fixed(16),
                ..LoraSettings::default()
            },
            // There are only a few updates, so the peak rate is twenty times the default.
            optimizer: OptimizerConfig { learning_rate: 2e-3, ..OptimizerConfig::default() },
            schedule: ScheduleConfig {
                decay: Decay::Linear,
                warmup: Share::Count(1),
                ..ScheduleConfig::default()
            },
            rollout: RolloutConfig {
                prompts: 4,
                replies: 4,
                // At temperature 1 the replies of a model of this size are incoherent.
                temperature: 0.8,
                max_prompt_tokens: 64,
                // More short replies teach more than fewer long ones. Nearly all are cut off, so there is no
                // penalty for that.
                max_reply_tokens: 40,
            },
            update: UpdateConfig { epochs: 1, ..UpdateConfig::default() },
            // Rewards of replies to one prompt differ by about 2. With 0.4 the policy hardly moves.
            kl: KlConfig { coefficient: 0.1, ..KlConfig::default() },
            reward: RewardTermsConfig {
                unfinished: UnfinishedConfig { penalty: 0.0, ..UnfinishedConfig::default() },
                ..RewardTermsConfig::default()
            },
            checkpoint: CheckpointConfig { every: 1, ..CheckpointConfig::default() },
            ..AlignConfig::default()
        }
    }

    /// SALMON's settings (arXiv 2310.05910), from its released script for a model of 70 billion weights. Use
    /// smaller batches and lengths for other models.
    ///
    /// These settings correct the faults of the released code: the KL is not clamped, and only real tokens
    /// count. The critic's clip of 0.2 is a fraction of the distance between values and returns, not 0.2 in
    /// the units of returns of tens.
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

    /// The settings that all training runs share.
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

    /// Number of replies of a rollout.
    pub fn samples(&self) -> usize {
        self.rollout.prompts * self.rollout.replies
    }

    /// Number of rollouts of a run over `prompts` prompts: as set, or computed from the epochs and rounded
    /// up.
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

    /// Saving and memory options may change between parts of a run.
    fn without_side_settings(&self) -> Self {
        let mut settings = self.clone();
        // The preset only gives the values of settings that are left out.
        settings.preset = Preset::Small;
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings
    }
}
