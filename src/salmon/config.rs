//! The settings of a pipeline: one TOML file for all stages.
//!
//! `examples/salmon.toml` ([`PipelineConfig::SAMPLE`]) shows the settings that are changed most often, with
//! the values of the budget `small`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Stage;
use crate::align::AlignConfig;
use crate::judge::{JudgeKind, PreferenceConfig, ReplyPlan, Verdicts};
use crate::preferences::Missing;
use crate::reward::{LimitSettings, RewardConfig};
use crate::self_align::{SelfAlignConfig, Unfinished};
use crate::settings::{Auto, Faults, MOST_ITEMS, MOST_SEED, MOST_TOKENS, Settings, settings_hash};

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

/// A set of default settings, by the time that a run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// A trial run. Takes a quarter of an hour on two cores without a GPU. That is enough to see every stage
    /// run, but too little training for a large effect.
    #[default]
    Small,
    /// The defaults of every stage. Takes hours on a GPU.
    Standard,
}

/// Optional stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageSwitches {
    /// Runs stage 0. Use it for a base that does not follow instructions. Small models do not follow the
    /// exemplars well enough.
    pub self_align: bool,
    /// Folder of an existing reward model for the same base, as `parr reward train` writes it or as a PEFT
    /// directory. Stages 1 and 2 are then skipped, and editing the guidelines repeats stage 3.
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
    pub temperature: f32,
    /// Maximum number of tokens of a reply.
    pub max_tokens: usize,
    /// Number of sequences generated at the same time.
    pub batch: usize,
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

    /// The default settings of a budget.
    pub fn preset(budget: Budget) -> PipelineConfig {
        let standard = PipelineConfig {
            budget,
            model: "smollm2".to_owned(),
            prompts: PathBuf::from("prompts.jsonl"),
            stages: StageSwitches { self_align: false, reward_model: None, align: true, comparison: true },
            self_align: SelfAlignConfig::default(),
            preferences: PreferenceConfig {
                principles: vec!["principles/reward.toml".to_owned()],
                ..PreferenceConfig::default()
            },
            reward: RewardConfig::default(),
            evaluation: MeasureConfig::default(),
            guidelines: vec!["policy".to_owned(), "interventions".to_owned()],
            align: AlignConfig::default(),
            comparison: ComparisonConfig::default(),
        };
        match budget {
            Budget::Standard => standard,
            Budget::Small => small(standard),
        }
    }

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

    /// Text of a settings file for a budget, and for an existing reward model if one is given. It is
    /// [`PipelineConfig::SAMPLE`] with other values.
    pub fn sample(budget: Budget, reward_model: Option<&Path>) -> String {
        let table =
            |budget| Table::try_from(PipelineConfig::preset(budget)).expect("settings are plain values");
        let (said, wanted) = (table(Budget::Small), table(budget));
        let mut path: Vec<String> = Vec::new();
        let mut text = String::new();
        for line in Self::SAMPLE.lines() {
            if let Some(path) = reward_model.filter(|_| line.starts_with("# reward_model = ")) {
                let path = Value::from(path.to_string_lossy().into_owned());
                text.push_str(&format!("reward_model = {path}\n"));
                continue;
            }
            if let Some(table) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                path = table.split('.').map(str::to_owned).collect();
            }
            let key = line.split_once(" = ").map(|(key, _)| key).filter(|key| !key.starts_with('#'));
            // Values that both budgets share keep their spelling.
            let value =
                |key| value(&wanted, &path, key).filter(|wanted| value(&said, &path, key) != Some(wanted));
            match key.and_then(|key| Some((key, value(key)?))) {
                Some((key, value)) => text.push_str(&format!("{key} = {value}\n")),
                None => text.push_str(&format!("{line}\n")),
            }
        }
        text
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

/// The value of a setting in a table of settings.
fn value<'a>(settings: &'a Table, path: &[String], key: &str) -> Option<&'a Value> {
    path.iter().try_fold(settings, |table, name| table.get(name)?.as_table())?.get(key)
}

/// Number of trained layers in the small budget, counted from the last. The backward pass stops there.
const LAST_LAYERS: Auto = Auto::Fixed(8);

/// Changes the standard settings to those of the small budget.
fn small(mut config: PipelineConfig) -> PipelineConfig {
    let PipelineConfig {
        stages,
        self_align,
        preferences,
        reward,
        evaluation,
        guidelines,
        align,
        comparison,
        ..
    } = &mut config;

    self_align.prompt_tokens = 48;
    self_align.n_rules = Auto::Fixed(6);
    self_align.n_exemplars = Auto::Fixed(2);
    self_align.chunk = 8;
    self_align.sampling.max_tokens = 128;
    self_align.filter.unfinished = Unfinished::Cut;
    self_align.distill.epochs = 1.0;
    self_align.distill.lora.rank = 8;
    self_align.distill.lora.alpha = 16.0;
    self_align.distill.lora.last_layers = LAST_LAYERS;
    self_align.distill.data.max_tokens = 128;

    preferences.principles = vec!["principles/small.toml".to_owned()];
    preferences.judge = JudgeKind::Contrast;
    preferences.verdicts = Verdicts::Own;
    preferences.replies.plan = ReplyPlan::Contrast;
    preferences.replies.pairs = 2;
    preferences.replies.max_tokens = 32;

    reward.steps = Auto::Fixed(10);
    reward.lora.rank = 8;
    reward.lora.last_layers = LAST_LAYERS;
    reward.optimizer.learning_rate = 5e-4;
    reward.batch.pairs = 4;
    reward.limits = LimitSettings { tokens: 192, request: 32, reply: 32 };
    reward.aggregate.missing = Missing::UseRest;
    reward.aggregate.held_out = 0.2;
    // Each held-out comparison is evaluated once.
    reward.aggregate.passes = 1;
    reward.evaluation.every = 0;
    reward.checkpoint.every = 2;

    evaluation.limit = 6;

    guidelines.clone_from(&preferences.principles);
    align.steps = Auto::Fixed(4);
    align.lora.rank = reward.lora.rank;
    align.lora.last_layers = LAST_LAYERS;
    align.rollout.prompts = 6;
    align.rollout.max_prompt_tokens = 64;
    align.rollout.max_reply_tokens = 32;
    align.update.epochs = 1;
    align.checkpoint.every = 1;

    // It would take a few more minutes.
    stages.comparison = false;
    comparison.limit = 8;
    comparison.max_tokens = 48;
    config
}
