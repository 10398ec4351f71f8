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
    /// Everything random in the run follows from it, but for what `aggregate.seed` decides.
    pub seed: u64,
    /// How often each comparison is used, every time under other principles; parts are possible. 4 as in
    /// SALMON (arXiv 2310.05910).
    pub epochs: f64,
    /// Optimizer steps; `auto` for as many as [`RewardConfig::epochs`] make. A number overrules the epochs.
    pub steps: Auto,
    /// How the adapter is written.
    pub factors: Factors,
    /// The adapter.
    pub lora: LoraSettings,
    /// How gradients become changes.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// What one step works on: pairs, where supervised training has sequences.
    pub batch: PairBatch,
    /// Tokens that an input and its parts may have.
    pub limits: LimitSettings,
    /// How judged replies become training pairs, and which prompts are held out. Pairs that are measured on
    /// come from its passes; training goes on to further ones.
    pub aggregate: AggregateOptions,
    /// Measuring on held-out pairs.
    pub evaluation: PairEvaluation,
    /// Saving what a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// What is traded for memory.
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

/// What one optimizer step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairBatch {
    /// Pairs of a step. 16, a quarter of SALMON's, whose models are larger and whose data is more.
    pub pairs: usize,
    /// Pairs that are in device memory at a time; gradients add up to the same step. `auto` for as many as
    /// fit.
    pub micro_batch: Auto,
}

impl Default for PairBatch {
    fn default() -> Self {
        PairBatch { pairs: 16, micro_batch: Auto::Auto }
    }
}

/// Measuring on pairs of prompts that are not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairEvaluation {
    /// Steps from one measurement to the next; 0 for none but before the first and after the last step.
    pub every: u64,
}

impl Default for PairEvaluation {
    fn default() -> Self {
        PairEvaluation { every: 50 }
    }
}

/// Numbers of the adapter's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factors {
    /// As they were trained.
    #[default]
    F32,
    /// Half the size. Three digits of each factor stay, which scores hardly show.
    F16,
}

impl Factors {
    /// The same as files know it.
    pub fn quant(self) -> Quant {
        match self {
            Factors::F32 => Quant::F32,
            Factors::F16 => Quant::F16,
        }
    }
}

impl RewardConfig {
    /// The settings that every run has.
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
        let LimitSettings { tokens, request, reply } = self.limits;
        for (setting, value) in
            [("limits.tokens", tokens), ("limits.request", request), ("limits.reply", reply)]
        {
            faults.need(value > 0, setting, value, "a number above 0");
        }
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
