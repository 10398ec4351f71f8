//! The stages, in their order, and what each leaves.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of SALMON (arXiv 2310.05910).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Stage 0: the base writes its own first training answers, and learns them.
    SelfAlign,
    /// Stage 1: replies are sampled, and judged under principles.
    Preferences,
    /// Stage 2: a reward model learns to read principles.
    Reward,
    /// What the reward model has learned, on prompts that were held out.
    Evaluation,
    /// Stage 3: a policy learns what the reward model prefers, under principles of its own.
    Align,
    /// The methods of steering side by side: what principles in the prompt, the searches and the policy do to replies.
    Comparison,
}

impl Stage {
    /// All of them, each behind those that it builds on.
    pub const ALL: [Stage; 6] = [
        Stage::SelfAlign,
        Stage::Preferences,
        Stage::Reward,
        Stage::Evaluation,
        Stage::Align,
        Stage::Comparison,
    ];

    /// The word that folders begin with, and manifests say.
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

    /// The files that tell whether what it left is as it was left.
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
            Stage::Evaluation | Stage::Comparison => &["report.json", "report.html"],
            Stage::Align => &["adapter/adapter_config.json", "adapter/adapter_model.safetensors"],
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
