//! The settings of direct preference optimization: a plain struct, one TOML file.
//!
//! `examples/dpo.toml` ([`DpoConfig::SAMPLE`]) shows every setting with its default.

use serde::{Deserialize, Serialize};

use crate::preferences::{AggregateOptions, Mirror};
use crate::reward::{PairBatch, PairEvaluation};
use crate::settings::{Auto, Faults, MOST_TOKENS, Settings, Share};
use crate::train::config::{
    BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    RunSettings, ScheduleConfig,
};
use crate::train::objective::Dpo;

/// Direct preference optimization of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpoConfig {
    /// Seed. All random draws of the run depend on it, except those that depend on `aggregate.seed`.
    pub seed: u64,
    /// Number of times each comparison is used. May be a fraction. 1 as in TRL's example.
    pub epochs: f64,
    /// Number of optimizer steps. `auto` computes it from [`DpoConfig::epochs`]. A number overrides the
    /// epochs.
    pub steps: Auto,
    /// Strength of the KL constraint to the reference (beta). 0.1 as in arXiv 2305.18290, appendix B.
    pub beta: f64,
    /// Probability that a label is wrong, below 0.5. 0 as in the paper.
    pub label_smoothing: f64,
    /// Maximum number of tokens of a prompt with its reply. Pairs with a longer one are left out.
    pub max_tokens: usize,
    /// The adapter.
    pub lora: LoraSettings,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Batch size of one step, in pairs.
    pub batch: PairBatch,
    /// How judged replies are turned into pairs, and which prompts are held out. Principles are never
    /// negated, and labels are never flipped on purpose.
    pub aggregate: AggregateOptions,
    /// Evaluation on held-out pairs.
    pub evaluation: PairEvaluation,
    /// Saved states that a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// Options that save memory.
    pub memory: MemoryConfig,
}

impl Default for DpoConfig {
    fn default() -> Self {
        DpoConfig {
            seed: 0,
            epochs: 1.0,
            steps: Auto::Auto,
            beta: 0.1,
            label_smoothing: 0.0,
            max_tokens: 512,
            lora: LoraSettings::default(),
            // Between the 1e-6 of full fine-tuning in the paper and the rates of adapters of small models.
            optimizer: OptimizerConfig { learning_rate: 5e-5, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::default(),
            batch: PairBatch::default(),
            aggregate: AggregateOptions {
                passes: 1,
                negation: 0.0,
                noise: 0.0,
                ..AggregateOptions::default()
            },
            evaluation: PairEvaluation::default(),
            checkpoint: CheckpointConfig::default(),
            memory: MemoryConfig::default(),
        }
    }
}

impl DpoConfig {
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
            batch: BatchConfig { sequences: pairs, micro_batch },
            evaluation: EvaluationConfig {
                held_out: Share::Fraction(self.aggregate.held_out),
                every: self.evaluation.every,
            },
            checkpoint: self.checkpoint,
            memory: self.memory,
        }
    }

    /// The objective.
    pub fn objective(&self) -> Dpo {
        Dpo { beta: self.beta, label_smoothing: self.label_smoothing }
    }
}

impl Settings for DpoConfig {
    const SAMPLE: &'static str = include_str!("../../../examples/dpo.toml");

    fn check(&self, faults: &mut Faults) {
        self.run_settings().check(faults);
        let (beta, wrong) = (self.beta, self.label_smoothing);
        faults.need(beta > 0.0 && beta.is_finite(), "beta", beta, "a number above 0");
        faults.need((0.0..0.5).contains(&wrong), "label_smoothing", wrong, "a number from 0 to below 0.5");
        faults.need(self.max_tokens > 1, "max_tokens", self.max_tokens, "a number above 1");
        faults.at_most("max_tokens", self.max_tokens, MOST_TOKENS);
        let negation = self.aggregate.negation;
        let expected = "0: a policy does not read that a principle is negated";
        faults.need(negation == 0.0, "aggregate.negation", negation, expected);
        let mirror = self.aggregate.mirror;
        faults.need(
            mirror == Mirror::Off,
            "aggregate.mirror",
            mirror.name(),
            "off: in a mirror other principles are listed, and a policy does not read them",
        );
        let noise = self.aggregate.noise;
        faults.need(noise == 0.0, "aggregate.noise", noise, "0: label_smoothing is for wrong labels");
    }

    fn without_side_settings(&self) -> Self {
        let mut settings = self.clone();
        settings.evaluation = PairEvaluation::default();
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings.batch.micro_batch = Auto::Auto;
        settings
    }
}
