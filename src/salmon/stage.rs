//! The stages, their order and their output files.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of SALMON (arXiv 2310.05910).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Stage 0: the base writes its own training answers, and is trained on them.
    SelfAlign,
    /// Stage 1: samples replies, and judges them under principles.
    Preferences,
    /// Stage 2: trains a reward model that reads principles.
    Reward,
    /// Evaluates the reward model on held-out prompts.
    Evaluation,
    /// Stage 3: trains a policy against the reward model, under guidelines.
    Align,
    /// Compares the steering methods: principles in the prompt, best-of-n, guided decoding and the policy.
    Comparison,
}

impl Stage {
    /// All stages, in the order in which they run.
    pub const ALL: [Stage; 6] = [
        Stage::SelfAlign,
        Stage::Preferences,
        Stage::Reward,
        Stage::Evaluation,
        Stage::Align,
        Stage::Comparison,
    ];

    /// Name of the stage in manifests and at the beginning of folder names.
    pub fn name(self) -> &'static str {
        match self {
            Stage::SelfAlign => "self-align",
            Stage::Preferences => "preferences",
            Stage::Reward => "reward",
            Stage::Evaluation => "evaluation",
            Stage::Align => "align",
            Stage::Comparison => "comparison",
        }
    }

    /// Output files that the manifest lists with their hashes.
    pub fn outputs(self) -> &'static [&'static str] {
        match self {
            Stage::SelfAlign => &[
                "samples.jsonl",
                "rows.jsonl",
                "report.json",
                "adapter/adapter_config.json",
                "adapter/adapter_model.safetensors",
            ],
            Stage::Preferences => &["comparisons.jsonl"],
            Stage::Reward => &[
                "adapter/adapter_config.json",
                "adapter/adapter_model.safetensors",
                "adapter/reward_head.safetensors",
                "adapter/parr.json",
            ],
            Stage::Evaluation | Stage::Comparison if cfg!(feature = "html") => {
                &["report.json", "report.html"]
            }
            Stage::Evaluation | Stage::Comparison => &["report.json"],
            Stage::Align => &["adapter/adapter_config.json", "adapter/adapter_model.safetensors"],
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
