//! The knobs of the aggregation, with the values of SALMON's program as defaults.

use serde::{Deserialize, Serialize};

use crate::preferences::PreferencesError;

/// How judged replies become training pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregateOptions {
    /// Everything random follows from it and from the records' ids.
    pub seed: u64,
    /// How often each comparison is used, every time with other principles. 4 as in SALMON.
    pub passes: u32,
    /// Most principles that a pair may have, but for one that explains a rule's label. 8 as in SALMON.
    pub most_principles: usize,
    /// The number of principles is geometrically distributed with this chance of success, cut off at
    /// `most_principles`. 0.2 as in SALMON: 3.4 of 8 on average.
    pub success: f64,
    /// How often a principle is negated. 0.5 as in SALMON: without the principles nothing can be told then.
    pub negation: f64,
    /// How often a label that a principle decided is flipped on purpose, in training pairs. 0.1 as in SALMON.
    /// Labels that a rule decided have the noise of the rule.
    pub noise: f64,
    /// What makes scores under different principles comparable.
    pub normalise: Normalise,
    /// Whether a judge's mean preference for whatever it is shown first is taken off its scores under each
    /// principle before they are asked whether they agree. SALMON does not; small judges need it.
    pub debias: bool,
    /// Whether the set's rules may decide in the place of the principles.
    pub rules: bool,
    /// What becomes of comparisons that lack a verdict under a principle that decides.
    pub missing: Missing,
    /// What a training pair comes with in the same step ([`Aggregator::mirrored`](super::Aggregator::mirrored)).
    pub mirror: Mirror,
    /// The part of prompts whose pairs are held out, free of noise. 0.1, where SALMON has another data set.
    pub held_out: f64,
}

impl Default for AggregateOptions {
    fn default() -> Self {
        AggregateOptions {
            seed: 0,
            passes: 4,
            most_principles: 8,
            success: 0.2,
            negation: 0.5,
            noise: 0.1,
            normalise: Normalise::Variance,
            debias: false,
            rules: true,
            missing: Missing::Drop,
            mirror: Mirror::Off,
            held_out: 0.1,
        }
    }
}

/// What the mean score under a principle is divided by: something of all scores under it in training
/// comparisons, in both orders. Where that is 0 all scores are the same and stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// Their variance, as in SALMON: principles whose scores differ little weigh more.
    #[default]
    Variance,
    /// Their standard deviation: principles weigh alike.
    Deviation,
    /// Nothing: principles whose scores differ much weigh more.
    Nothing,
}

/// What becomes of comparisons that lack a verdict under a principle that decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// They are left out, as in SALMON.
    #[default]
    Drop,
    /// They are used with the principles that they have verdicts under: for replies that were written, and
    /// judged, under a few principles each.
    UseRest,
}

/// The mirror of a training pair: the same replies with a list under which the other one is preferred. What
/// replies have in themselves then says nothing at all, step by step, and a model need not unlearn what it
/// took from it. SALMON has no mirrors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mirror {
    /// None.
    #[default]
    Off,
    /// The negated list.
    Negated,
    /// The negated list, or as often a single other principle under which the other reply is preferred, if
    /// there is one. Where `negation` is 0, always such a principle, as it stands: to match replies with
    /// principles is learned sooner than what a negation is.
    Rival,
}

impl Mirror {
    /// The word in settings files.
    pub fn name(self) -> &'static str {
        match self {
            Mirror::Off => "off",
            Mirror::Negated => "negated",
            Mirror::Rival => "rival",
        }
    }
}

impl AggregateOptions {
    /// Training pairs that one pair makes, its mirror among them.
    pub fn units_of_pair(&self) -> usize {
        1 + usize::from(self.mirror != Mirror::Off)
    }

    /// `Ok` if every option is within its range.
    ///
    /// # Errors
    ///
    /// [`PreferencesError::Options`] with every fault there is.
    pub fn validate(&self) -> Result<(), PreferencesError> {
        let mut faults = Vec::new();
        let mut need = |sound: bool, name: &str, value: f64, expected: &str| {
            if !sound {
                faults.push(format!("{name} is {value}, expected {expected}"));
            }
        };
        need(self.passes > 0, "passes", self.passes.into(), "a number above 0");
        let most = self.most_principles;
        need((1..=64).contains(&most), "most_principles", most as f64, "a number from 1 to 64");
        let success = self.success;
        need(success > 0.0 && success <= 1.0, "success", success, "a number above 0 and up to 1");
        need((0.0..=1.0).contains(&self.negation), "negation", self.negation, "a number from 0 to 1");
        need((0.0..=0.5).contains(&self.noise), "noise", self.noise, "a number from 0 to 0.5");
        need((0.0..1.0).contains(&self.held_out), "held_out", self.held_out, "a number from 0 to below 1");
        if faults.is_empty() { Ok(()) } else { Err(PreferencesError::Options { faults }) }
    }
}
