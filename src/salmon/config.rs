//! The settings of a pipeline: one TOML file for all stages.
//!
//! `examples/salmon.toml` ([`PipelineConfig::SAMPLE`]) shows the settings that are changed most often, with
//! the values of the budget `small`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Budget, Stage};
use crate::align::AlignConfig;
use crate::judge::PreferenceConfig;
use crate::reward::RewardConfig;
use crate::self_align::SelfAlignConfig;
use crate::settings::{Faults, MOST_ITEMS, MOST_SEED, MOST_TOKENS, Settings, settings_hash};
use crate::steer::compare::MethodKind;

/// Settings of all stages of SALMON.
///
/// Read a file with [`PipelineConfig::read`]. Settings that the file leaves out get the defaults of the
/// budget. With `serde` alone they would get the defaults of their own types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// Selects the defaults of the settings that are left out.
    pub budget: Budget,
    /// The base model: a name that `parr pull` knows, a GGUF file, or a Hugging Face directory.
    pub model: String,
    /// Prompts of all stages, in JSON Lines.
    pub prompts: PathBuf,
    /// The optional stages that run.
    pub stages: StageSwitches,
    /// Stage 0.
    pub self_align: SelfAlignConfig,
    /// Stage 1.
    pub preferences: PreferenceConfig,
    /// Stage 2.
    pub reward: RewardConfig,
    /// Evaluation of stage 2.
    pub evaluation: MeasureConfig,
    /// Principles that score the policy in stage 3: shipped sets or files. The reward model reads them as
    /// text, so it need not have been trained on them.
    pub guidelines: Vec<String>,
    /// Stage 3.
    pub align: AlignConfig,
    /// Comparison of the steering methods.
    pub comparison: ComparisonConfig,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        PipelineConfig::preset(Budget::default())
    }
}

/// Optional stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageSwitches {
    /// Runs stage 0. Use it for a base that does not follow instructions. Small models do not follow the
    /// exemplars well enough.
    pub self_align: bool,
    /// Existing reward model for the same base: the folder of a `parr reward train` run, a PEFT directory, or the
    /// name of the one that comes with Parr ([`SHIPPED`](crate::reward::SHIPPED)). Stages 1 and 2 are then skipped,
    /// and editing the guidelines repeats stage 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_model: Option<PathBuf>,
    /// Runs stage 3.
    pub align: bool,
    /// Compares the steering methods under the guidelines: principles in the prompt, best-of-n, guided
    /// decoding, and the policy if stage 3 runs.
    pub comparison: bool,
}

/// Settings of the reward model's evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureConfig {
    /// Maximum number of pairs, and of comparisons under each principle. 0 means all.
    pub limit: usize,
    /// Number of inputs computed at the same time.
    pub batch: usize,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        MeasureConfig { limit: 100, batch: 8 }
    }
}

/// Settings of the comparison of steering methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComparisonConfig {
    /// Prompts that no stage trains on, in JSON Lines. If left out, the methods answer some of the stages'
    /// prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// Number of prompts, taken at even distances from the file. 0 means all.
    pub limit: usize,
    /// Random seed of the replies.
    pub seed: u64,
    /// Number of candidates per choice.
    pub best_of: usize,
    /// Number of tokens per block of guided decoding. 0 leaves out this method.
    pub block: usize,
    /// Temperature of sampling. At 0, the distances from the base do not estimate a KL divergence.
    pub temperature: f64,
    /// Maximum number of tokens of a reply.
    pub max_tokens: usize,
    /// Number of sequences generated at the same time.
    pub batch: usize,
    /// Methods to compare with the base. An empty list means all that the other settings allow.
    pub methods: Vec<MethodKind>,
}

impl Default for ComparisonConfig {
    fn default() -> Self {
        ComparisonConfig {
            prompts: None,
            limit: 24,
            seed: 0,
            best_of: 4,
            block: 16,
            temperature: 1.0,
            max_tokens: 128,
            batch: 8,
            methods: Vec::new(),
        }
    }
}

impl ComparisonConfig {
    /// SHA-256 of the settings that change the replies. The path of the prompts is not included: their
    /// contents are hashed separately.
    pub(super) fn hash(&self) -> String {
        settings_hash(&ComparisonConfig { prompts: None, batch: 0, ..self.clone() })
    }

    fn check(&self, faults: &mut Faults) {
        let ComparisonConfig { best_of, temperature, max_tokens, batch, .. } = *self;
        faults.need((1..=256).contains(&best_of), "best_of", best_of, "a number from 1 to 256");
        let sound = temperature.is_finite() && temperature >= 0.0;
        faults.need(sound, "temperature", temperature, "0 or more");
        faults.need(max_tokens > 0, "max_tokens", max_tokens, "1 or more");
        faults.at_most("max_tokens", max_tokens, MOST_TOKENS);
        faults.at_most("block", self.block, MOST_TOKENS);
        faults.at_most("limit", self.limit, MOST_ITEMS);
        faults.at_most("seed", self.seed, MOST_SEED);
        faults.need((1..=256).contains(&batch), "batch", batch, "a number from 1 to 256");
    }
}

impl PipelineConfig {
    /// Name of the file in the folder of a pipeline.
    pub const FILE: &'static str = "salmon.toml";

    /// The stages that run, in order.
    pub fn stages(&self) -> Vec<Stage> {
        let wanted = |stage: &Stage| match stage {
            Stage::SelfAlign => self.stages.self_align,
            Stage::Preferences | Stage::Reward | Stage::Evaluation => self.stages.reward_model.is_none(),
            Stage::Align => self.stages.align,
            Stage::Comparison => self.stages.comparison,
        };
        Stage::ALL.into_iter().filter(wanted).collect()
    }
}

impl Settings for PipelineConfig {
    const SAMPLE: &'static str = include_str!("../../examples/salmon.toml");

    fn preset_of(&self) -> Self {
        PipelineConfig::preset(self.budget)
    }

    fn check(&self, faults: &mut Faults) {
        faults.need(!self.model.is_empty(), "model", "empty", "the name or the path of a model");
        let batch = self.evaluation.batch;
        faults.need((1..=256).contains(&batch), "evaluation.batch", batch, "a number from 1 to 256");
        faults.at_most("evaluation.limit", self.evaluation.limit, MOST_ITEMS);
        let for_nothing = self.stages.reward_model.is_some() && !self.stages.align && !self.stages.comparison;
        let expected = "true, because stages.reward_model leaves no other stage to run";
        faults.need(!for_nothing, "stages.align", false, expected);
        faults.of_table("comparison", |faults| self.comparison.check(faults));
        faults.of_table("self_align", |faults| self.self_align.check(faults));
        faults.of_table("preferences", |faults| self.preferences.check(faults));
        faults.of_table("reward", |faults| self.reward.check(faults));
        faults.of_table("align", |faults| self.align.check(faults));
    }
}
