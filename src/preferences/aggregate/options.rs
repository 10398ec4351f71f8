//! Options of the aggregation. The defaults are the values of SALMON's program.

use serde::{Deserialize, Serialize};

use crate::preferences::PreferencesError;

/// Options for turning judged replies into training pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregateOptions {
    /// Seed. All random draws depend only on it and on the records' ids.
    pub seed: u64,
    /// Number of times each comparison is used, each time with other principles. 4 as in SALMON.
    pub passes: u32,
    /// Maximum number of principles of a pair, not counting one that explains a rule's label. 8 as in SALMON.
    pub most_principles: usize,
    /// Success probability of the geometric distribution of the number of principles, which is truncated at
    /// `most_principles`. 0.2 as in SALMON: 3.4 of 8 on average.
    pub success: f64,
    /// Probability that a principle is negated. 0.5 as in SALMON: then the replies alone do not predict the
    /// label.
    pub negation: f64,
    /// Probability that a label that a principle decided is flipped on purpose, in training pairs. 0.1 as in
    /// SALMON. Labels that a rule decided have the noise of the rule.
    pub noise: f64,
    /// How scores under different principles are made comparable.
    pub normalise: Normalise,
    /// Whether to subtract the judge's mean preference for the reply shown first from its scores under each
    /// principle, before both orders are compared. SALMON does not do this. Small judges need it.
    pub debias: bool,
    /// Whether the set's rules may decide instead of the principles.
    pub rules: bool,
    /// What to do with comparisons that lack a verdict under a principle that decides.
    pub missing: Missing,
    /// Mirror of each training pair in the same step ([`Aggregator::mirrored`](super::Aggregator::mirrored)).
    pub mirror: Mirror,
    /// Fraction of prompts whose pairs are held out, without noise. 0.1. SALMON uses another data set
    /// instead.
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

/// Divisor of the mean score under a principle. It is a statistic of all scores under the principle in
/// training comparisons, in both orders. If it is 0, all scores are the same and are not divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// The scores' variance, as in SALMON: principles whose scores differ little have more weight.
    #[default]
    Variance,
    /// The scores' standard deviation: all principles have the same weight.
    Deviation,
    /// No divisor: principles whose scores differ much have more weight.
    Nothing,
}

/// What to do with comparisons that lack a verdict under a principle that decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// They are left out, as in SALMON.
    #[default]
    Drop,
    /// They are used with the principles that they have verdicts under. For replies that are written and
    /// judged under a few principles each.
    UseRest,
}

/// The mirror of a training pair: the same replies with a list under which the other reply is preferred. With
/// mirrors, the replies alone never predict the label within a step, so the model does not learn a preference
/// that it must forget later. SALMON has no mirrors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mirror {
    /// No mirrors.
    #[default]
    Off,
    /// The negated list.
    Negated,
    /// The negated list or, equally often, a single other principle that prefers the other reply, if there is
    /// one. If `negation` is 0, always such a principle, not negated. A model learns to match replies with
    /// principles sooner than it learns what a negation means.
    Rival,
}

impl Mirror {
    /// The name in settings files.
    pub fn name(self) -> &'static str {
        match self {
            Mirror::Off => "off",
            Mirror::Negated => "negated",
            Mirror::Rival => "rival",
        }
    }
}

impl AggregateOptions {
    /// Number of training pairs per pair, with its mirror.
    pub fn units_of_pair(&self) -> usize {
        1 + usize::from(self.mirror != Mirror::Off)
    }

    /// `Ok` if every option is within its range.
    ///
    /// # Errors
    ///
    /// [`PreferencesError::Options`] with all faults.
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
