//! The settings of a reward model's training: plain structs, one TOML file.
//!
//! `examples/reward.toml` ([`RewardConfig::SAMPLE`]) shows every setting with its default.

use serde::{Deserialize, Serialize};

use super::LimitSettings;
use crate::preferences::AggregateOptions;
use crate::quant::Quant;
use crate::settings::{Auto, Faults, Settings, Share};
use crate::train::config::{
    BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    RunSettings, ScheduleConfig,
};

/// Training of a reward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// Seed. All random draws of the run depend on it, except those that depend on `aggregate.seed`.
    pub seed: u64,
    /// Number of times each comparison is used, each time under other principles. May be a fraction. 4 as in
    /// SALMON (arXiv 2310.05910).
    pub epochs: f64,
    /// Number of optimizer steps. `auto` computes it from [`RewardConfig::epochs`]. A number overrides the
    /// epochs.
    pub steps: Auto,
    /// Number format of the adapter's file.
    pub factors: Factors,
    /// The adapter.
    pub lora: LoraSettings,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Batch size of one step, in pairs.
    pub batch: PairBatch,
    /// Maximum numbers of tokens of an input and its parts.
    pub limits: LimitSettings,
    /// How judged replies are turned into training pairs, and which prompts are held out. Held-out pairs come
    /// from its passes. Training continues with further passes.
    pub aggregate: AggregateOptions,
    /// Evaluation on held-out pairs.
    pub evaluation: PairEvaluation,
    /// Saved states that a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// Options that save memory.
    pub memory: MemoryConfig,
}

impl Default for RewardConfig {
    fn default() -> Self {
        RewardConfig {
            seed: 0,
            epochs: 4.0,
            steps: Auto::Auto,
            factors: Factors::default(),
            lora: LoraSettings { rank: 8, alpha: 16.0, ..LoraSettings::default() },
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            batch: PairBatch::default(),
            limits: LimitSettings::default(),
            aggregate: AggregateOptions::default(),
            evaluation: PairEvaluation::default(),
            checkpoint: CheckpointConfig::default(),
            memory: MemoryConfig::default(),
        }
    }
}

/// Batch size of one optimizer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairBatch {
    /// Number of pairs per step. 16, a quarter of SALMON's, which uses larger models and more data.
    pub pairs: usize,
    /// Number of pairs in device memory at the same time. It does not change the step, because gradients are
    /// accumulated. `auto` uses the largest number that fits.
    pub micro_batch: Auto,
}

impl Default for PairBatch {
    fn default() -> Self {
        PairBatch { pairs: 16, micro_batch: Auto::Auto }
    }
}

/// Evaluation on pairs of prompts that are not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairEvaluation {
    /// Number of steps between evaluations. 0 evaluates only before the first and after the last step.
    pub every: u64,
}

impl Default for PairEvaluation {
    fn default() -> Self {
        PairEvaluation { every: 50 }
    }
}

/// Number format of the adapter's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factors {
    /// The format of training.
    #[default]
    F32,
    /// Half the size. Each factor keeps three digits, which changes scores very little.
    F16,
}

impl Factors {
    /// The format's name in files.
    pub fn quant(self) -> Quant {
        match self {
            Factors::F32 => Quant::F32,
            Factors::F16 => Quant::F16,
        }
    }
}

impl RewardConfig {
    /// The settings that all training runs share.
    pub fn run_settings(&self) -> RunSettings {
        let PairBatch { pairs, micro_batch } = self.batch;
        RunSettings {
            seed: self.seed,
            epochs: self.epochs,
            steps: self.steps,
            lora: self.lora.clone(),
            optimizer: self.optimizer,
            schedule: self.schedule,
            batch: BatchConfig { sequences: pairs * self.aggregate.units_of_pair(), micro_batch },
            evaluation: EvaluationConfig {
                held_out: Share::Fraction(self.aggregate.held_out),
                every: self.evaluation.every,
            },
            checkpoint: self.checkpoint,
            memory: self.memory,
        }
    }
}

impl Settings for RewardConfig {
    const SAMPLE: &'static str = include_str!("../../examples/reward.toml");

    fn check(&self, faults: &mut Faults) {
        self.run_settings().check(faults);
        self.limits.check(faults);
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
