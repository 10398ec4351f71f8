//! The settings of a training run: plain structs, defaults with their source, one TOML file.
//!
//! `examples/sft.toml` ([`SftConfig::SAMPLE`](Settings::SAMPLE)) shows every setting of supervised fine-tuning
//! with its default.

mod check;
mod run;

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::data::{DataOptions, TrainOn};
pub use super::schedule::{Decay, ScheduleConfig};
pub use run::RunSettings;

use crate::model::ModelConfig;
use crate::model::lora::{AdapterError, LoraConfig, LoraWeights, Projections};
use crate::settings::{Auto, Faults, Settings, Share};

/// Supervised fine-tuning of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftConfig {
    /// Everything random in the run follows from it: first weights, order of rows, rows held out.
    pub seed: u64,
    /// How often each row is seen; parts of an epoch are possible. 3 as in `transformers` and Alpaca.
    pub epochs: f64,
    /// Optimizer steps; `auto` for as many as [`SftConfig::epochs`] make. A number overrules the epochs.
    pub steps: Auto,
    /// The adapter.
    pub lora: LoraSettings,
    /// How gradients become changes.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// What one step works on.
    pub batch: BatchConfig,
    /// How rows become tokens.
    pub data: DataOptions,
    /// Measuring on rows that are not trained on.
    pub evaluation: EvaluationConfig,
    /// Saving what a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// What is traded for memory.
    pub memory: MemoryConfig,
}

impl Default for SftConfig {
    fn default() -> Self {
        SftConfig {
            seed: 0,
            epochs: 3.0,
            steps: Auto::Auto,
            lora: LoraSettings::default(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            batch: BatchConfig::default(),
            data: DataOptions::default(),
            evaluation: EvaluationConfig::default(),
            checkpoint: CheckpointConfig::default(),
            memory: MemoryConfig::default(),
        }
    }
}

/// The shape of a fresh adapter. Not used where a run starts from an existing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraSettings {
    /// Rank of the factors (R). 16 as in TRL's `ModelConfig`.
    pub rank: usize,
    /// The adapter's output is scaled by `alpha / rank`. 32 as in TRL's `ModelConfig`.
    pub alpha: f32,
    /// Scale by `alpha / sqrt(rank)` instead, which keeps high ranks learning (arXiv 2312.03732).
    pub rs_lora: bool,
    /// The projections that get a pair: `all`, or some of `q,k,v,o,gate,up,down`. All, since adapters on every
    /// linear layer are what matches full fine-tuning (QLoRA, arXiv 2305.14314, section 4).
    #[serde(serialize_with = "write_targets", deserialize_with = "read_targets")]
    pub targets: Projections,
    /// Only the last so many layers get pairs, and the backward pass ends there; `auto` for every layer. A scalar
    /// read off a frozen base needs its last layers most, and half of the layers take half of the backward pass.
    pub last_layers: Auto,
}

impl Default for LoraSettings {
    fn default() -> Self {
        LoraSettings {
            rank: 16,
            alpha: 32.0,
            rs_lora: false,
            targets: Projections::ALL,
            last_layers: Auto::Auto,
        }
    }
}

impl LoraSettings {
    /// A fresh adapter of this shape for `model`: [`LoraWeights::fresh`].
    ///
    /// # Errors
    ///
    /// [`AdapterError::Setting`] if it makes no adapter.
    pub fn fresh(&self, model: &ModelConfig, seed: u64) -> Result<LoraWeights, AdapterError> {
        let LoraSettings { rank, alpha, rs_lora, targets, last_layers } = *self;
        let weights = LoraWeights::fresh(LoraConfig { rank, alpha, rs_lora, targets }, model, seed)?;
        Ok(match last_layers {
            Auto::Auto => weights,
            Auto::Fixed(count) => weights.of_last_layers(count),
        })
    }
}

fn write_targets<S: Serializer>(targets: &Projections, serializer: S) -> Result<S::Ok, S::Error> {
    if *targets == Projections::ALL {
        serializer.serialize_str("all")
    } else {
        serializer.collect_str(targets)
    }
}

fn read_targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Projections, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// AdamW (arXiv 1711.05101) with clipping by the norm of all gradients together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The highest learning rate, which [`ScheduleConfig`] scales. 2e-4 as QLoRA's table 9 has it for models
    /// of up to 13 billion weights.
    pub learning_rate: f64,
    /// Decay of the first and second moment. (0.9, 0.999) as in Adam (arXiv 1412.6980).
    pub betas: [f64; 2],
    /// Added to the root of the second moment. 1e-8 as in Adam.
    pub eps: f64,
    /// Decay of the weights, scaled by the learning rate. 0 as in `transformers`: the factors start small,
    /// and the frozen base is not decayed at all.
    pub weight_decay: f64,
    /// Gradients of a larger norm are scaled down to it; `inf` turns that off. 1 as in `transformers`.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            learning_rate: 2e-4,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        }
    }
}

/// What one optimizer step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Sequences of a step (B). 8 as in `transformers`.
    pub sequences: usize,
    /// Sequences that are in device memory at a time; gradients add up to the same step. `auto` for as many
    /// as fit.
    pub micro_batch: Auto,
}

impl Default for BatchConfig {
    fn default() -> Self {
        BatchConfig { sequences: 8, micro_batch: Auto::Auto }
    }
}

/// Measuring the loss on rows that are not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Rows that are set aside: a count, or a fraction of all. Not used where a file of such rows is given.
    pub held_out: Share,
    /// Steps from one measurement to the next; 0 for none but before the first and after the last step.
    pub every: u64,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig { held_out: Share::Fraction(0.05), every: 50 }
    }
}

/// Saving what a run can resume from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps from one to the next; 0 for none but after the last step.
    pub every: u64,
    /// How many are kept, the newest; two at least, so that a damaged one costs a few steps and not the run.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig { every: 50, keep: 2 }
    }
}

/// What is traded for memory. Neither changes what is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Whether layers are computed again in the backward pass.
    pub recompute: Recompute,
    /// Device memory the run may use, in MiB; `auto` for what the device allows.
    pub budget_mib: Auto,
}

/// Whether a layer's inner activations are kept from the forward pass, or computed again from its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Kept if they fit into the budget.
    #[default]
    Auto,
    /// Computed again: least memory, about a third more work.
    Always,
    /// Kept: most memory, least work.
    Never,
}

impl Display for Recompute {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Recompute::Auto => "auto",
            Recompute::Always => "always",
            Recompute::Never => "never",
        })
    }
}

impl SftConfig {
    /// The settings that every run has.
    pub fn run_settings(&self) -> RunSettings {
        RunSettings {
            seed: self.seed,
            epochs: self.epochs,
            steps: self.steps,
            lora: self.lora.clone(),
            optimizer: self.optimizer,
            schedule: self.schedule,
            batch: self.batch,
            evaluation: self.evaluation,
            checkpoint: self.checkpoint,
            memory: self.memory,
        }
    }

    /// Optimizer steps of a run over `rows` rows: [`RunSettings::total_steps`].
    pub fn total_steps(&self, rows: usize) -> u64 {
        self.run_settings().total_steps(rows)
    }
}

impl Settings for SftConfig {
    const SAMPLE: &'static str = include_str!("../../../examples/sft.toml");

    fn check(&self, faults: &mut Faults) {
        self.run_settings().check(faults);
        let most = self.data.max_tokens;
        faults.need(most > 1, "data.max_tokens", most, "a number above 1");
    }

    /// How often is measured and saved may change between parts of a run, and what is traded for memory.
    fn without_side_settings(&self) -> Self {
        let mut settings = self.clone();
        settings.evaluation.every = 0;
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings.batch.micro_batch = Auto::Auto;
        settings
    }
}
