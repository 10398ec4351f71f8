//! The settings of direct preference optimization: a plain struct, one TOML file.
//!
//! `examples/dpo.toml` ([`DpoConfig::SAMPLE`]) shows every setting with its default.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::reward::{PairBatch, PairEvaluation};
use crate::salmon::{AggregateOptions, Mirror};
use crate::train::TrainError;
use crate::train::config::{
    Auto, BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    RunSettings, ScheduleConfig, Share, parse_over, settings_hash, settings_text, settings_toml,
};
use crate::train::objective::Dpo;

/// Direct preference optimization of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpoConfig {
    /// Everything random in the run follows from it, but for what `aggregate.seed` decides.
    pub seed: u64,
    /// How often each comparison is used; parts are possible. 1 as in TRL's example.
    pub epochs: f64,
    /// Optimizer steps; `auto` for as many as [`DpoConfig::epochs`] make. A number overrules the epochs.
    pub steps: Auto,
    /// How dear it is to leave the reference. 0.1 as in arXiv 2305.18290, appendix B.
    pub beta: f64,
    /// Chance that a label is wrong, below 0.5. 0 as in the paper.
    pub label_smoothing: f64,
    /// Pairs of which a reply has more tokens with its prompt are left out.
    pub max_tokens: usize,
    /// The adapter.
    pub lora: LoraSettings,
    /// How gradients become changes.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// What one step works on.
    pub batch: PairBatch,
    /// How judged replies become pairs, and which prompts are held out. Nothing is negated, and no label
    /// flipped on purpose.
    pub aggregate: AggregateOptions,
    /// Measuring on held-out pairs.
    pub evaluation: PairEvaluation,
    /// Saving what a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// What is traded for memory.
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
            // Between the 1e-6 of full fine-tuning in the paper and what adapters of small models take.
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
    /// A settings file that says everything the default does, with comments.
    pub const SAMPLE: &'static str = include_str!("../../../examples/dpo.toml");

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
            batch: BatchConfig { sequences: pairs, micro_batch },
            evaluation: EvaluationConfig {
                held_out: Share::Fraction(self.aggregate.held_out),
                every: self.evaluation.every,
            },
            checkpoint: self.checkpoint,
            memory: self.memory,
        }
    }

    /// `Ok` if every setting is within its range; the aggregation judges the rest of its own.
    ///
    /// # Errors
    ///
    /// [`TrainError::Settings`] with every fault there is.
    pub fn validate(&self) -> Result<(), TrainError> {
        let mut faults = self.run_settings().faults();
        let (beta, wrong) = (self.beta, self.label_smoothing);
        faults.need(beta > 0.0 && beta.is_finite(), "beta", beta, "a number above 0");
        faults.need((0.0..0.5).contains(&wrong), "label_smoothing", wrong, "a number from 0 to below 0.5");
        faults.need(self.max_tokens > 1, "max_tokens", self.max_tokens, "a number above 1");
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
        faults.finish()
    }

    /// SHA-256 in hexadecimal of all settings that the run's weights depend on. A state can be resumed under
    /// settings with the same hash.
    pub fn hash(&self) -> String {
        let mut settings = self.clone();
        settings.evaluation = PairEvaluation::default();
        settings.checkpoint = CheckpointConfig::default();
        settings.memory = MemoryConfig::default();
        settings.batch.micro_batch = Auto::Auto;
        settings_hash(&settings)
    }

    /// The objective.
    pub fn objective(&self) -> Dpo {
        Dpo { beta: self.beta, label_smoothing: self.label_smoothing }
    }

    /// The settings as a settings file, without comments.
    pub fn to_toml(&self) -> String {
        settings_toml(self)
    }

    /// Reads a settings file. What it leaves out keeps its default; values are not judged yet
    /// ([`DpoConfig::validate`]), since the command line may still change them.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Io`] if it cannot be read.
    /// * [`TrainError::Config`] with line and column of whatever is not TOML, no setting, or no value of it.
    pub fn read(path: &Path) -> Result<DpoConfig, TrainError> {
        DpoConfig::parse(&settings_text(path)?, path)
    }

    /// Parses the text of a settings file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] as [`DpoConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<DpoConfig, TrainError> {
        parse_over(&DpoConfig::default(), text, path)
    }
}
