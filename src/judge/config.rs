//! The settings of `parr preferences`: plain structs, one TOML file.
//!
//! `examples/preferences.toml` ([`PreferenceConfig::SAMPLE`]) shows every setting with its default.

use serde::{Deserialize, Serialize};

use crate::generate::Sampling;
use crate::settings::{Faults, MOST_ITEMS, Settings};

/// Settings of a run that collects preferences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreferenceConfig {
    /// Seed. All random choices depend only on it and on the ids of the prompts.
    pub seed: u64,
    /// The principles, as [`PrincipleSet::open_all`](crate::principles::PrincipleSet::open_all) takes them.
    pub principles: Vec<String>,
    /// The judge. SALMON's is [`JudgeKind::Ab`]. Small models do better with [`JudgeKind::Contrast`].
    pub judge: JudgeKind,
    /// Principles that a pair is judged under.
    pub verdicts: Verdicts,
    /// Selection of prompts.
    pub prompts: PromptSettings,
    /// Replies and pairs.
    pub replies: ReplySettings,
    /// Batch size.
    pub batch: SlotSettings,
}

impl Default for PreferenceConfig {
    fn default() -> Self {
        PreferenceConfig {
            seed: 0,
            principles: vec!["reward".to_owned()],
            judge: JudgeKind::default(),
            verdicts: Verdicts::default(),
            prompts: PromptSettings::default(),
            replies: ReplySettings::default(),
            batch: SlotSettings::default(),
        }
    }
}

/// The judge of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeKind {
    /// [`LabelJudge`](super::LabelJudge).
    Ab,
    /// [`ContrastJudge`](super::ContrastJudge).
    #[default]
    Contrast,
    /// [`CheckJudge`](super::CheckJudge).
    Check,
}

/// Principles that a pair is judged under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdicts {
    /// All principles, as in SALMON.
    #[default]
    All,
    /// Only the principle that one of its replies was written under, or all if there is none. The cost of a
    /// judge with a model grows with the number of principles.
    /// [`Missing::UseRest`](crate::preferences::Missing) aggregates such comparisons.
    Own,
}

/// Selection of prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSettings {
    /// Number of prompts, from the start of the file. 0 for all.
    pub limit: usize,
    /// Languages, as ISO 639-1 codes. Empty for all.
    pub languages: Vec<String>,
    /// What to do with prompts that do not fit into the model's context.
    pub too_long: TooLong,
}

/// What to do with prompts that do not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TooLong {
    /// The run stops with an error before it starts.
    #[default]
    Refuse,
    /// They are left out and counted.
    Skip,
}

/// Replies to each prompt, and the pairs to compare.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplySettings {
    /// What differs between the replies of a pair.
    pub plan: ReplyPlan,
    /// Number of plain replies to a prompt, for [`ReplyPlan::Sample`]. 2 as in SALMON.
    pub count: usize,
    /// Number of pairs per prompt, for the other plans.
    pub pairs: usize,
    /// For [`ReplyPlan::Edit`]: the share of pairs whose shorter version is also edited for another
    /// principle, if that does not change the verdict
    /// ([`Check::with_decoy`](crate::principles::Check::with_decoy)).
    pub decoys: f64,
    /// Maximum number of tokens of a reply. SALMON uses 768. A small model needs about a third.
    pub max_tokens: usize,
    /// Sampling temperature. 0.7 as in SALMON.
    pub temperature: f32,
    /// Probability mass of the most probable tokens to keep. 1, as in SALMON, keeps all.
    pub top_p: f32,
    /// Number of most probable tokens to keep. 0 keeps all.
    pub top_k: u32,
    /// Smallest probability of a token to keep, as a fraction of the most probable token's.
    pub min_p: f32,
}

impl Default for ReplySettings {
    fn default() -> Self {
        ReplySettings {
            plan: ReplyPlan::default(),
            count: 2,
            pairs: 1,
            decoys: 0.0,
            max_tokens: 256,
            temperature: 0.7,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
        }
    }
}

impl ReplySettings {
    /// Sampling options of one reply.
    pub(super) fn sampling(&self, seed: u64) -> Sampling {
        let ReplySettings { temperature, top_p, top_k, min_p, .. } = *self;
        Sampling { temperature, top_k, top_p, min_p, repetition_penalty: 1.0, seed }
    }
}

/// What differs between the replies of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyPlan {
    /// Only the seed, as in SALMON.
    #[default]
    Sample,
    /// One is written under a principle, the other under its negative (RLCD, arXiv 2307.12950). They differ
    /// in what is judged even if plain replies of a small model would not.
    Contrast,
    /// One is written under a principle or its negative, the other is plain. Closer to the replies of a
    /// policy.
    Mix,
    /// Both are versions of one plain reply, which a program edits to follow a principle and to break it
    /// ([`Check::edit`](crate::principles::Check::edit)). They differ in nothing else, and one reply makes
    /// several pairs.
    Edit,
}

/// Batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlotSettings {
    /// Number of sequences computed at the same time.
    pub slots: usize,
}

impl Default for SlotSettings {
    fn default() -> Self {
        SlotSettings { slots: 16 }
    }
}

impl Settings for PreferenceConfig {
    const SAMPLE: &'static str = include_str!("../../examples/preferences.toml");

    fn check(&self, faults: &mut Faults) {
        let ReplySettings { count, pairs, decoys, max_tokens, temperature, top_p, min_p, .. } = self.replies;
        let within = |value: usize, most: usize| (1..=most).contains(&value);
        faults.need((2..=64).contains(&count), "replies.count", count, "a number from 2 to 64");
        faults.need(within(pairs, 1024), "replies.pairs", pairs, "a number from 1 to 1024");
        faults.need((0.0..=1.0).contains(&decoys), "replies.decoys", decoys, "a number from 0 to 1");
        faults.need(
            within(max_tokens, 1 << 20),
            "replies.max_tokens",
            max_tokens,
            "a number from 1 to 1048576",
        );
        let temperature_fits = (0.0..=100.0).contains(&temperature);
        faults.need(temperature_fits, "replies.temperature", temperature, "a number from 0 to 100");
        faults.need(top_p > 0.0 && top_p <= 1.0, "replies.top_p", top_p, "above 0 and at most 1");
        faults.need((0.0..=1.0).contains(&min_p), "replies.min_p", min_p, "a number from 0 to 1");
        // Settings files have no larger integers.
        let seed_fits = self.seed <= i64::MAX as u64;
        faults.need(seed_fits, "seed", self.seed, "a number below 2^63");
        faults.at_most("prompts.limit", self.prompts.limit, MOST_ITEMS);
        let slots = self.batch.slots;
        faults.need(within(slots, 1024), "batch.slots", slots, "a number from 1 to 1024");
    }
}
