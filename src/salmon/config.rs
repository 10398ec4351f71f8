//! The settings of a pipeline: one TOML file for all stages.
//!
//! `examples/salmon.toml` ([`PipelineConfig::SAMPLE`]) shows those that are changed most, with the values of
//! the budget `small`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Stage;
use crate::align::AlignConfig;
use crate::judge::{JudgeKind, PreferenceConfig, ReplyPlan, Verdicts};
use crate::preferences::Missing;
use crate::reward::{LimitSettings, RewardConfig};
use crate::self_align::{SelfAlignConfig, Unfinished};
use crate::settings::{Auto, Faults, Settings, settings_hash};

/// All stages of SALMON.
///
/// From a file by [`PipelineConfig::read`], which completes tables that are there in part from the budget.
/// `serde` alone would complete them from the defaults of their own types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// What a setting is that is not said.
    pub budget: Budget,
    /// The base: a name that `parr pull` knows, a GGUF file, or a Hugging Face directory.
    pub model: String,
    /// What is asked, in all stages: JSON Lines of prompts.
    pub prompts: PathBuf,
    /// Which stages there are.
    pub stages: StageSwitches,
    /// Stage 0.
    pub self_align: SelfAlignConfig,
    /// Stage 1.
    pub preferences: PreferenceConfig,
    /// Stage 2.
    pub reward: RewardConfig,
    /// What is measured of stage 2.
    pub evaluation: MeasureConfig,
    /// What the policy is judged by in stage 3: sets that come with Parr, or files. The reward model reads
    /// them as text, and need not have been trained on them.
    pub guidelines: Vec<String>,
    /// Stage 3.
    pub align: AlignConfig,
    /// What the methods of steering answer.
    pub comparison: ComparisonConfig,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        PipelineConfig::preset(Budget::default())
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// A quarter of an hour on two cores without a GPU: enough to see every stage at work, not to learn much.
    #[default]
    Small,
    /// The defaults of every stage: hours on a GPU.
    Standard,
}

/// Stages that may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageSwitches {
    /// Stage 0. Off for a base that follows instructions already, and for small ones, which do not follow the
    /// exemplars well enough.
    pub self_align: bool,
    /// A reward model that is there already, for the same base: its folder, as `parr reward train` leaves it or a
    /// PEFT directory. Stages 1 and 2 are left out then, and to edit the guidelines is to do stage 3 again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_model: Option<PathBuf>,
    /// Stage 3.
    pub align: bool,
    /// The methods of steering side by side, under the guidelines: principles in the prompt, the best of several
    /// replies, guided decoding, and the policy, if there is one.
    pub comparison: bool,
}

/// How much is measured of a reward model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureConfig {
    /// Most pairs, and most comparisons under each principle; 0 for all there are.
    pub limit: usize,
    /// Inputs computed at the same time.
    pub batch: usize,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        MeasureConfig { limit: 100, batch: 8 }
    }
}

/// What every method of steering answers, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComparisonConfig {
    /// JSON Lines of prompts that no stage learns from; without, some of those that the stages ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// So many of them, from all over the file; 0 for all.
    pub limit: usize,
    /// What all draws follow from.
    pub seed: u64,
    /// Candidates of each choice.
    pub best_of: usize,
    /// Tokens of a block of guided decoding; 0 leaves that method out.
    pub block: usize,
    /// Temperature of sampling; above 0, or the distances from the base are no estimates of a KL divergence.
    pub temperature: f32,
    /// Most tokens of a reply.
    pub max_tokens: usize,
    /// Sequences generated at the same time.
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
    /// SHA-256 of the settings that change what is answered; what the prompts' path leads to is not among them.
    pub(super) fn hash(&self) -> String {
        settings_hash(&ComparisonConfig { prompts: None, batch: 0, ..self.clone() })
    }

    fn check(&self, faults: &mut Faults) {
        let ComparisonConfig { best_of, temperature, max_tokens, batch, .. } = *self;
        faults.need((1..=256).contains(&best_of), "best_of", best_of, "a number from 1 to 256");
        let sound = temperature.is_finite() && temperature >= 0.0;
        faults.need(sound, "temperature", temperature, "0 or more");
        faults.need(max_tokens > 0, "max_tokens", max_tokens, "1 or more");
        faults.need((1..=256).contains(&batch), "batch", batch, "a number from 1 to 256");
    }
}

impl PipelineConfig {
    /// The file's name in the folder of a pipeline.
    pub const FILE: &'static str = "salmon.toml";

    /// The settings that a budget stands for.
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

    /// The stages that there are, in their order.
    pub fn stages(&self) -> Vec<Stage> {
        let wanted = |stage: &Stage| match stage {
            Stage::SelfAlign => self.stages.self_align,
            Stage::Preferences | Stage::Reward | Stage::Evaluation => self.stages.reward_model.is_none(),
            Stage::Align => self.stages.align,
            Stage::Comparison => self.stages.comparison,
        };
        Stage::ALL.into_iter().filter(wanted).collect()
    }

    /// The text of a settings file for a budget, and for a reward model that is there already:
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
            // What the budgets have in common stays as it is written.
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
        let for_nothing = self.stages.reward_model.is_some() && !self.stages.align && !self.stages.comparison;
        faults.need(!for_nothing, "stages.align", false, "true where stages.reward_model names one");
        faults.of_table("comparison", |faults| self.comparison.check(faults));
        faults.of_table("self_align", |faults| self.self_align.check(faults));
        faults.of_table("preferences", |faults| self.preferences.check(faults));
        faults.of_table("reward", |faults| self.reward.check(faults));
        faults.of_table("align", |faults| self.align.check(faults));
    }
}

/// The value of a setting, as a file says it.
fn value<'a>(settings: &'a Table, path: &[String], key: &str) -> Option<&'a Value> {
    path.iter().try_fold(settings, |table, name| table.get(name)?.as_table())?.get(key)
}

/// Layers that learn on a small budget: the backward pass ends with them.
const LAST_LAYERS: Auto = Auto::Fixed(8);

/// What a quarter of an hour allows.
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
    // Every held-out pair is measured on once.
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

    // It would take some minutes more.
    stages.comparison = false;
    comparison.limit = 8;
    comparison.max_tokens = 48;
    config
}
