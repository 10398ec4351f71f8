//! The settings of a pointwise reward model's training: plain structs, one TOML file.
//!
//! `examples/pointwise.toml` ([`PointwiseConfig::SAMPLE`]) shows every setting with its default.

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::reward::card::base;
use crate::reward::{Factors, LimitSettings, PairEvaluation, RewardError};
use crate::settings::{Auto, Faults, Settings, Share};
use crate::train::config::{
    BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    RunSettings, ScheduleConfig,
};

/// Training of a pointwise reward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PointwiseConfig {
    /// Seed. All random draws of the run depend on it.
    pub seed: u64,
    /// Number of times each labelled reply is used. May be a fraction.
    pub epochs: f64,
    /// Number of optimizer steps. `auto` computes it from [`PointwiseConfig::epochs`]. A number overrides the epochs.
    pub steps: Auto,
    /// Number format of the adapter's file.
    pub factors: Factors,
    /// Number of the base's layers that the reward model reads, from the first on. `auto` reads all of them. The layers
    /// in the middle of a model compare texts; the last ones choose its next word, which a reward model does not need.
    pub layers: Auto,
    /// Whether the input has a line of counts of the reply's form: words, sentences, list items, marks, the first word
    /// and the last. A small model cannot count them itself.
    pub counts: bool,
    /// The adapter.
    pub lora: LoraSettings,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Weight of the comparison of replies that are labelled under the same principles: the one that keeps a principle
    /// should score higher than the one that does not. 0 trains by the labels alone.
    pub comparison: f64,
    /// Whether each epoch has its own random order. Otherwise the order is that of the file, in which easy replies may
    /// come first.
    pub shuffle: bool,
    /// Batch size of one step, in replies.
    pub batch: ReplyBatch,
    /// Maximum numbers of tokens of an input and its parts.
    pub limits: LimitSettings,
    /// Share of the prompts whose replies are held out.
    pub held_out: f64,
    /// Evaluation on held-out replies.
    pub evaluation: PairEvaluation,
    /// Saved states that a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// Options that save memory.
    pub memory: MemoryConfig,
}

impl Default for PointwiseConfig {
    fn default() -> Self {
        PointwiseConfig {
            seed: 0,
            epochs: 1.0,
            steps: Auto::Auto,
            factors: Factors::default(),
            layers: Auto::Auto,
            counts: true,
            lora: LoraSettings { rank: 16, alpha: 32.0, ..LoraSettings::default() },
            optimizer: OptimizerConfig { learning_rate: 7e-4, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::default(),
            comparison: 0.5,
            shuffle: true,
            batch: ReplyBatch::default(),
            limits: LimitSettings { tokens: 512, request: 64, reply: 256 },
            held_out: 0.02,
            evaluation: PairEvaluation { every: 100 },
            checkpoint: CheckpointConfig::default(),
            memory: MemoryConfig::default(),
        }
    }
}

/// Batch size of one optimizer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyBatch {
    /// Number of replies per step, each with all its labels. Consecutive replies of a file that have the same prompt and
    /// principles are in the same step; a step has at least one such group.
    pub replies: usize,
    /// Number of replies in device memory at the same time. It does not change the step, because gradients are
    /// accumulated. `auto` uses the largest number that fits.
    pub micro_batch: Auto,
}

impl Default for ReplyBatch {
    fn default() -> Self {
        ReplyBatch { replies: 4, micro_batch: Auto::Auto }
    }
}

impl PointwiseConfig {
    /// The layers of `model` that the reward model reads.
    ///
    /// # Errors
    ///
    /// [`RewardError::Layers`] if it has fewer.
    pub fn base(&self, model: &Model) -> Result<Model, RewardError> {
        base(model, self.first_layers())
    }

    /// The number of layers; `None` for all.
    pub(super) fn first_layers(&self) -> Option<usize> {
        match self.layers {
            Auto::Auto => None,
            Auto::Fixed(layers) => Some(layers),
        }
    }

    /// The settings that all training runs share.
    pub fn run_settings(&self) -> RunSettings {
        let ReplyBatch { replies, micro_batch } = self.batch;
        RunSettings {
            seed: self.seed,
            epochs: self.epochs,
            steps: self.steps,
            lora: self.lora.clone(),
            optimizer: self.optimizer,
            schedule: self.schedule,
            batch: BatchConfig { sequences: replies, micro_batch },
            evaluation: EvaluationConfig {
                held_out: Share::Fraction(self.held_out),
                every: self.evaluation.every,
            },
            checkpoint: self.checkpoint,
            memory: self.memory,
        }
    }
}

impl Settings for PointwiseConfig {
    const SAMPLE: &'static str = include_str!("../../../examples/pointwise.toml");

    fn check(&self, faults: &mut Faults) {
        self.run_settings().check(faults);
        self.limits.check(faults);
        let sound = self.comparison >= 0.0 && self.comparison.is_finite();
        faults.need(sound, "comparison", self.comparison, "0 or above");
    }

    fn without_side_settings(&self) -> Self {
        let mut settings = self.clone();
        settings.evaluation = PairEvaluation::default();
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings.batch.micro_batch = Auto::Auto;
        settings.factors = Factors::default();
        settings
    }
}
