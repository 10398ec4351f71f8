//! The settings of self-alignment: plain structs, one TOML file.
//!
//! `examples/self-align.toml` ([`SelfAlignConfig::SAMPLE`]) shows every setting with its default.

use serde::{Deserialize, Serialize};

use super::filter::FilterOptions;
use super::prompt::Wanted;
use crate::generate::Sampling;
use crate::principles::{Exemplars, PrincipleSet, PrinciplesError};
use crate::settings::{Auto, Faults, Settings, settings_hash};
use crate::train::config::SftConfig;

/// Self-alignment of a base model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfAlignConfig {
    /// Every answer's seed follows from it and from the prompt's id.
    pub seed: u64,
    /// The rules: a set that comes with Parr, or a file.
    pub rules: String,
    /// The exemplars: those that come with Parr, or a file.
    pub exemplars: String,
    /// Rules in the prompt; `auto` for all that fit.
    pub n_rules: Auto,
    /// Exemplars in the prompt; `auto` for all that fit.
    pub n_exemplars: Auto,
    /// Tokens that a request may have; longer ones are not asked. 256 in Dromedary-2, whose context was
    /// twice as long as that of most small models.
    pub prompt_tokens: usize,
    /// Prompts that run side by side.
    pub batch: usize,
    /// Prompts that are answered before their records are written, all at once: what a killed run loses at
    /// most. What fits into the cache is computed anew for each such chunk, so that a resumed run does what an
    /// undisturbed one would have done.
    pub chunk: usize,
    /// How answers are drawn.
    pub sampling: AnswerSampling,
    /// Which answers are kept.
    pub filter: FilterOptions,
    /// The training on the answers, with `--distill`.
    pub distill: SftConfig,
}

/// How answers are drawn: temperature 0.7 and top-p 0.95 as in Dromedary-2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSampling {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Keep the most probable tokens up to this mass.
    pub top_p: f32,
    /// Penalty on recent tokens; 1 is none.
    pub repetition_penalty: f32,
    /// Most tokens of thoughts and answer together. 512 in Dromedary-2; half of it leaves a model of 2048
    /// positions room for the exemplars.
    pub max_tokens: usize,
}

impl Default for AnswerSampling {
    fn default() -> Self {
        AnswerSampling { temperature: 0.7, top_p: 0.95, repetition_penalty: 1.0, max_tokens: 256 }
    }
}

impl AnswerSampling {
    /// The same as generators know it.
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
    /// How many rules and exemplars are wanted.
    pub fn wanted(&self) -> Wanted {
        Wanted { rules: self.n_rules, exemplars: self.n_exemplars }
    }

    /// Opens the rules and the exemplars that the settings name.
    ///
    /// # Errors
    ///
    /// As [`PrincipleSet::open`] and [`Exemplars::open`].
    pub fn open_rules(&self) -> Result<(PrincipleSet, Exemplars), PrinciplesError> {
        let rules = PrincipleSet::open(&self.rules)?;
        let exemplars = Exemplars::open(&self.exemplars, &rules)?;
        Ok((rules, exemplars))
    }

    /// SHA-256 in hexadecimal of all settings that the answers depend on, those that are kept too; what rules
    /// and exemplars say is another matter than where they lie.
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
        let exemplars = self.n_exemplars;
        faults.need(exemplars != Auto::Fixed(0), "n_exemplars", exemplars, "\"auto\" or a number above 0");
        faults.of_table("distill", |faults| self.distill.check(faults));
    }
}
