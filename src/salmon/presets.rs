//! The default settings by budget, and settings files with them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{ComparisonConfig, MeasureConfig, PipelineConfig, StageSwitches};
use crate::align::AlignConfig;
use crate::judge::{JudgeKind, PreferenceConfig, ReplyPlan, Verdicts};
use crate::preferences::Missing;
use crate::reward::{LimitSettings, RewardConfig, SHIPPED};
use crate::self_align::{SelfAlignConfig, Unfinished};
use crate::settings::{Auto, Settings};
use crate::steer::compare::MethodKind;

/// A set of default settings, by the time that a run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Trains a policy with the reward model that comes with Parr, and compares it with the base on held-out prompts.
    /// Takes less than 20 minutes on two cores without a GPU.
    Policy,
    /// A trial run of all stages, with a reward model that learns from the base's own verdicts. Takes a quarter of
    /// an hour on two cores without a GPU. That is enough to see every stage run, but too little training for a
    /// large effect.
    #[default]
    Small,
    /// The defaults of every stage. Takes hours on a GPU.
    Standard,
}

impl Budget {
    /// All budgets.
    pub const ALL: [Budget; 3] = [Budget::Policy, Budget::Small, Budget::Standard];

    /// Name in settings files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Budget::Policy => "policy",
            Budget::Small => "small",
            Budget::Standard => "standard",
        }
    }
}

/// Path of the principles that a run with the budget `policy` follows, in its folder.
pub(super) const OWN_PRINCIPLES: &str = "principles/mine.toml";
/// Path of the prompts that no stage of such a run trains on, in its folder.
pub(super) const HELD_OUT: &str = "held-out.jsonl";

/// Number of trained layers on two cores, counted from the last. The backward pass stops there.
const LAST_LAYERS: Auto = Auto::Fixed(8);

/// Tables of a settings file that a run with an existing reward model does not read.
const UNUSED_WITH_REWARD: [&str; 4] = ["self_align", "preferences", "reward", "evaluation"];

impl PipelineConfig {
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
            Budget::Policy => policy(small(standard)),
        }
    }

    /// Text of a settings file for a budget, and for an existing reward model if one is given. It is
    /// [`PipelineConfig::SAMPLE`] with other values.
    pub fn sample(budget: Budget, reward_model: Option<&Path>) -> String {
        let table =
            |budget| Table::try_from(PipelineConfig::preset(budget)).expect("settings are plain values");
        let (sampled, mut wanted) = (table(Budget::Small), table(budget));
        if let Some(path) = reward_model {
            let stages = wanted.get_mut("stages").and_then(Value::as_table_mut).expect("a table");
            stages.insert("reward_model".to_owned(), path.to_string_lossy().into_owned().into());
        }
        let blocks = Self::SAMPLE.split("\n\n").filter(|block| {
            let table = block.lines().find_map(table_name);
            let root = table.and_then(|name| name.split('.').next());
            budget != Budget::Policy || !root.is_some_and(|root| UNUSED_WITH_REWARD.contains(&root))
        });
        let mut path: Vec<String> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for block in blocks {
            let mut lines: Vec<String> = Vec::new();
            for line in block.lines() {
                if let Some(table) = table_name(line) {
                    path = table.split('.').map(str::to_owned).collect();
                }
                // A setting that is a comment in the sample is written where this file needs it.
                let key = line.strip_prefix("# ").unwrap_or(line).split_once(" = ").map(|(key, _)| key);
                let wanted = key.and_then(|key| Some((key, value(&wanted, &path, key)?)));
                // Values that both budgets share keep their spelling.
                lines.push(match wanted {
                    Some((key, wanted)) if value(&sampled, &path, key) != Some(wanted) => {
                        format!("{key} = {wanted}")
                    }
                    _ => line.to_owned(),
                });
            }
            texts.push(lines.join("\n"));
        }
        texts.join("\n\n") + "\n"
    }
}

/// The name in a line that begins a table.
fn table_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// The value of a setting in a table of settings.
fn value<'a>(settings: &'a Table, path: &[String], key: &str) -> Option<&'a Value> {
    path.iter().try_fold(settings, |table, name| table.get(name)?.as_table())?.get(key)
}

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

/// Changes the settings of the small budget to those of a run that only trains a policy.
fn policy(mut config: PipelineConfig) -> PipelineConfig {
    let PipelineConfig { stages, guidelines, align, comparison, .. } = &mut config;
    stages.reward_model = Some(PathBuf::from(SHIPPED));
    *guidelines = vec![OWN_PRINCIPLES.to_owned()];

    *align = AlignConfig::quick();

    stages.comparison = true;
    comparison.prompts = Some(PathBuf::from(HELD_OUT));
    comparison.limit = 40;
    comparison.temperature = 0.7;
    comparison.max_tokens = 96;
    comparison.batch = 20;
    // Before and after; the other methods would take a few more minutes.
    comparison.methods = vec![MethodKind::Adapter];
    config
}
