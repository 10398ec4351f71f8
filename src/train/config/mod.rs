//! Settings of a training run: plain structs, read from one TOML file. Each default names its source.
//!
//! `examples/sft.toml` ([`SftConfig::SAMPLE`](Settings::SAMPLE)) shows every setting of supervised
//! fine-tuning with its default.

mod check;
mod run;

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::data::{DataOptions, TrainOn};
pub use super::schedule::{Decay, ScheduleConfig};
pub use run::RunSettings;

use crate::model::ModelConfig;
use crate::model::lora::{AdapterError, LoraConfig, LoraWeights, Projections};
use crate::settings::{Auto, Faults, MOST_TOKENS, Settings, Share};

/// Supervised fine-tuning of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftConfig {
    /// Random seed of the run. The initial weights, the order of the rows and the choice of held-out rows
    /// depend on it.
    pub seed: u64,
    /// Number of passes over the rows; may be a fraction. 3 as in `transformers` and Alpaca.
    pub epochs: f64,
    /// Number of optimizer steps. `auto` derives it from [`SftConfig::epochs`]; a number overrides the
    /// epochs.
    pub steps: Auto,
    /// The adapter.
    pub lora: LoraSettings,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Batch of one step.
    pub batch: BatchConfig,
    /// How rows are encoded as tokens.
    pub data: DataOptions,
    /// Evaluation on held-out rows.
    pub evaluation: EvaluationConfig,
    /// Saved states, from which a run can resume.
    pub checkpoint: CheckpointConfig,
    /// Trade-offs between memory and speed.
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

/// Shape of a fresh adapter. Not used if a run starts from an existing adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraSettings {
    /// Rank of the factors (R). 16 as in TRL's `ModelConfig`.
    pub rank: usize,
    /// The adapter's output is scaled by `alpha / rank`. 32 as in TRL's `ModelConfig`.
    pub alpha: f32,
    /// Whether to scale by `alpha / sqrt(rank)` instead, so that adapters of high rank still learn (arXiv
    /// 2312.03732).
    pub rs_lora: bool,
    /// Projections that get a pair of factors: `all`, or some of `q,k,v,o,gate,up,down`, and `in,out` for the
    /// convolutions of LFM2. The default is `all`, because adapters on every linear layer match full fine-tuning
    /// (QLoRA, arXiv 2305.14314, section 4).
    #[serde(serialize_with = "write_targets", deserialize_with = "read_targets")]
    pub targets: Projections,
    /// Number of last layers that get factors. The backward pass ends at the first of these. `auto` for every
    /// layer. A scalar head depends most on the last layers of a frozen base, and half of the layers take
    /// half of the backward pass.
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
    /// [`AdapterError::Setting`] if the settings do not describe a valid adapter.
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

/// AdamW (arXiv 1711.05101), with gradients clipped by their joint norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate, which [`ScheduleConfig`] scales. 2e-4 as in QLoRA's table 9 for models of up to 13
    /// billion weights.
    pub learning_rate: f64,
    /// Decay rates of the first and second moment. (0.9, 0.999) as in Adam (arXiv 1412.6980).
    pub betas: [f64; 2],
    /// Added to the square root of the second moment. 1e-8 as in Adam.
    pub eps: f64,
    /// Decay of the weights, scaled by the learning rate. 0 as in `transformers`: the factors start small,
    /// and the frozen base is not decayed at all.
    pub weight_decay: f64,
    /// Largest joint norm of the gradients. Larger gradients are scaled down to it; `inf` turns clipping off.
    /// 1 as in `transformers`.
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

/// Batch of one optimizer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Number of sequences in a step (B). 8 as in `transformers`.
    pub sequences: usize,
    /// Number of sequences in device memory at a time. Their gradients accumulate to the same step. `auto`
    /// for the largest number that fits.
    pub micro_batch: Auto,
}

impl Default for BatchConfig {
    fn default() -> Self {
        BatchConfig { sequences: 8, micro_batch: Auto::Auto }
    }
}

/// Evaluation of the loss on held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Rows that are held out from training: a count, or a fraction of all rows. Not used if a file of
    /// held-out rows is given.
    pub held_out: Share,
    /// Number of steps between evaluations. 0 evaluates only before the first and after the last step.
    pub every: u64,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig { held_out: Share::Fraction(0.05), every: 50 }
    }
}

/// Saved states, from which a run can resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Number of steps between saved states. 0 saves only after the last step.
    pub every: u64,
    /// Number of newest states that are kept. With at least two, a damaged state costs a few steps and not
    /// the run.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig { every: 50, keep: 2 }
    }
}

/// Trade-offs between memory and speed. Neither setting changes what is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Whether layers are recomputed in the backward pass.
    pub recompute: Recompute,
    /// Device memory that the run may use, in MiB. `auto` for all that the device allows.
    pub budget_mib: Auto,
}

/// Whether a layer's inner activations are kept from the forward pass, or recomputed from its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Kept if they fit into the budget.
    #[default]
    Auto,
    /// Recomputed: least memory, about a third more work.
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
    /// Settings that all kinds of training share.
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
        faults.at_most("data.max_tokens", most, MOST_TOKENS);
    }

    /// Intervals of evaluation and saving, and memory settings, may change when a run resumes.
    fn without_side_settings(&self) -> Self {
        let mut settings = self.clone();
        settings.evaluation.every = 0;
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings.batch.micro_batch = Auto::Auto;
        settings
    }
}
