//! The settings of self-alignment: plain structs, read from one TOML file.
//!
//! `examples/self-align.toml` ([`SelfAlignConfig::SAMPLE`]) shows every setting with its default.

use serde::{Deserialize, Serialize};

use super::filter::FilterOptions;
use super::prompt::Wanted;
use crate::generate::Sampling;
use crate::principles::{Exemplars, PrincipleSet, PrinciplesError};
use crate::settings::{
    Auto, Faults, MOST_ITEMS, MOST_SEED, MOST_SEQUENCES, MOST_TOKENS, Settings, settings_hash,
};
use crate::train::config::SftConfig;

/// Settings of the self-alignment of a base model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfAlignConfig {
    /// Random seed. Each answer's own seed is derived from it and from the prompt's id.
    pub seed: u64,
    /// The rules: the name of a shipped set, or a file.
    pub rules: String,
    /// The exemplars: the name of a shipped set, or a file.
    pub exemplars: String,
    /// Number of rules in the prompt. `auto` uses all that fit.
    pub n_rules: Auto,
    /// Number of exemplars in the prompt. `auto` uses all that fit.
    pub n_exemplars: Auto,
    /// Whether the model first writes which rules matter, and then the answer, as in SALMON. Without, the exemplars
    /// show requests and replies alone. A base of a few hundred million weights answers better so.
    pub thoughts: bool,
    /// Maximum number of tokens of a request. Longer requests are skipped. 256 in Dromedary-2, whose context
    /// was twice as long as that of most small models.
    pub prompt_tokens: usize,
    /// Number of prompts answered in parallel.
    pub batch: usize,
    /// Number of prompts whose records are written together. A killed run loses the answers of at most one
    /// chunk. The cache is cleared before each chunk, so that a resumed run computes the same as an
    /// uninterrupted one.
    pub chunk: usize,
    /// How answers are sampled.
    pub sampling: AnswerSampling,
    /// Which answers are kept.
    pub filter: FilterOptions,
    /// Training on the answers, with `--distill`.
    pub distill: SftConfig,
}

/// How answers are sampled. Temperature 0.7 and top-p 0.95 as in Dromedary-2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSampling {
    /// Divides the logits. 0 always takes the most probable token.
    pub temperature: f32,
    /// Samples from the most probable tokens that reach this total probability.
    pub top_p: f32,
    /// Divides the logits of recent tokens. 1 means no penalty.
    pub repetition_penalty: f32,
    /// Maximum number of tokens of the thoughts and the answer together. 512 in Dromedary-2. Half of that
    /// leaves room for the exemplars in a context of 2048 tokens.
    pub max_tokens: usize,
}

impl Default for AnswerSampling {
    fn default() -> Self {
        AnswerSampling { temperature: 0.7, top_p: 0.95, repetition_penalty: 1.0, max_tokens: 256 }
    }
}

impl AnswerSampling {
    /// The settings as a generator's [`Sampling`], with this seed.
    pub fn sampling(&self, seed: u64) -> Sampling {
        let AnswerSampling { temperature, top_p, repetition_penalty, .. } = *self;
        Sampling { temperature, top_p, repetition_penalty, seed, ..Sampling::default() }
    }
}

impl Default for SelfAlignConfig {
    fn default() -> Self {
        SelfAlignConfig {
            seed: 0,
            rules: "self-align".to_owned(),
            exemplars: "self-align".to_owned(),
            n_rules: Auto::Auto,
            n_exemplars: Auto::Auto,
            thoughts: true,
            prompt_tokens: 128,
            batch: 8,
            chunk: 64,
            sampling: AnswerSampling::default(),
            filter: FilterOptions::default(),
            distill: SftConfig::default(),
        }
    }
}

impl SelfAlignConfig {
    /// What the prompt holds, for [`InContext::fit`](super::InContext::fit).
    pub fn wanted(&self) -> Wanted {
        Wanted { rules: self.n_rules, exemplars: self.n_exemplars, thoughts: self.thoughts }
    }

    /// Opens the rules and the exemplars that the settings name.
    ///
    /// # Errors
    ///
    /// The errors of [`PrincipleSet::open`] and [`Exemplars::open`].
    pub fn open_rules(&self) -> Result<(PrincipleSet, Exemplars), PrinciplesError> {
        let rules = PrincipleSet::open(&self.rules)?;
        let exemplars = Exemplars::open(&self.exemplars, &rules)?;
        Ok((rules, exemplars))
    }

    /// SHA-256 in hexadecimal of all settings that the answers and their filtering depend on. The paths of
    /// rules and exemplars are not included: their contents are hashed separately.
    pub fn answers_hash(&self) -> String {
        let (rules, exemplars) = (String::new(), String::new());
        settings_hash(&SelfAlignConfig { rules, exemplars, distill: SftConfig::default(), ..self.clone() })
    }
}

impl Settings for SelfAlignConfig {
    const SAMPLE: &'static str = include_str!("../../examples/self-align.toml");

    fn check(&self, faults: &mut Faults) {
        for (setting, value) in [
            ("prompt_tokens", self.prompt_tokens),
            ("batch", self.batch),
            ("chunk", self.chunk),
            ("sampling.max_tokens", self.sampling.max_tokens),
        ] {
            faults.need(value > 0, setting, value, "a number above 0");
        }
        faults.at_most("seed", self.seed, MOST_SEED);
        faults.at_most("prompt_tokens", self.prompt_tokens, MOST_TOKENS);
        faults.at_most("sampling.max_tokens", self.sampling.max_tokens, MOST_TOKENS);
        faults.at_most("batch", self.batch, 1024);
        faults.at_most("chunk", self.chunk, MOST_SEQUENCES);
        for (setting, value) in [("n_rules", self.n_rules), ("n_exemplars", self.n_exemplars)] {
            if let Auto::Fixed(count) = value {
                faults.at_most(setting, count, MOST_ITEMS);
            }
        }
        let exemplars = self.n_exemplars;
        faults.need(exemplars != Auto::Fixed(0), "n_exemplars", exemplars, "\"auto\" or a number above 0");
        faults.of_table("distill", |faults| self.distill.check(faults));
    }
}
