//! Decides which of two replies is preferred: pure functions of scores, texts and draws.

use std::cmp::Ordering;

use super::draw::Draw;
use crate::preferences::record::{Comparison, Scores};
use crate::principles::{Boilerplate, Language, Override, Overrides, contains_phrase, language};

/// How much better the first reply is under a principle, or under its negative if `negated`. The scores are
/// divided by `spread` to make them comparable. 0 if the judge's verdict depends on the order.
pub(super) fn gap(scores: Scores, spread: f64, negated: bool) -> f64 {
    let gap = scores.agreed() / spread;
    if negated { 0.0 - gap } else { gap }
}

/// Index of the largest difference, or the first of equal ones. `None` if there is no difference. Only this
/// difference decides, not a sum or a majority.
pub(super) fn dominant(gaps: &[f64]) -> Option<usize> {
    let mut dominant = None;
    for (at, gap) in gaps.iter().enumerate() {
        if gap.abs() > dominant.map_or(0.0, |dominant: usize| gaps[dominant].abs()) {
            dominant = Some(at);
        }
    }
    dominant
}

/// Decision of the rules on a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ruling<'a> {
    /// No rule applies: the principles decide.
    None,
    /// A rule decides whether the first reply is preferred.
    Decided { rule: &'a Override, by: Rule, first: bool },
    /// The pair is dropped: neither reply is in the language of the prompt.
    Drop,
}

/// The rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Boilerplate,
    Language,
}

/// Facts about a comparison's texts that the rules use. They are the same in every pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    /// Whether each reply contains a stock phrase.
    boilerplate: [bool; 2],
    /// Whether each reply is in another language than the prompt. False if its language is unknown.
    foreign: [bool; 2],
}

impl Facts {
    pub(super) fn of(comparison: &Comparison, overrides: &Overrides) -> Facts {
        let texts = comparison.replies.each_ref().map(|reply| reply.text.as_str());
        let phrases = overrides.boilerplate.as_ref().map_or(&[][..], |Boilerplate { phrases, .. }| phrases);
        let mut foreign = [false; 2];
        if overrides.language.is_some() {
            let named = comparison.prompt.language.as_deref();
            let prompt = match named {
                Some(code) => Language::from_code(code),
                None => language(&comparison.prompt.text),
            };
            if let Some(prompt) = prompt {
                foreign = texts.map(|text| language(text).is_some_and(|found| found != prompt));
            }
        }
        let boilerplate = texts.map(|text| phrases.iter().any(|phrase| contains_phrase(text, phrase)));
        Facts { boilerplate, foreign }
    }
}

/// Applies the rules in their order. The last one that applies decides.
pub(super) fn rule<'a>(overrides: &'a Overrides, facts: Facts, draw: &Draw) -> Ruling<'a> {
    let mut ruling = Ruling::None;
    if let Some(Boilerplate { rule, .. }) = &overrides.boilerplate
        && draw.boilerplate < rule.probability
    {
        ruling = match facts.boilerplate {
            [true, false] => Ruling::Decided { rule, by: Rule::Boilerplate, first: false },
            [false, true] => Ruling::Decided { rule, by: Rule::Boilerplate, first: true },
            _ => ruling,
        };
    }
    if let Some(rule) = &overrides.language
        && draw.language < rule.probability
    {
        ruling = match facts.foreign {
            [true, true] => Ruling::Drop,
            [true, false] => Ruling::Decided { rule, by: Rule::Language, first: false },
            [false, true] => Ruling::Decided { rule, by: Rule::Language, first: true },
            [false, false] => ruling,
        };
    }
    ruling
}

/// Population variance of scores in both orders.
pub(super) fn variance(scores: impl Iterator<Item = Scores> + Clone) -> f64 {
    let values = scores.flat_map(<[f64; 2]>::from);
    let (count, sum) = values.clone().fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    let mean: f64 = sum / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    match count.partial_cmp(&0.0) {
        Some(Ordering::Greater) => squares / count,
        _ => 0.0,
    }
}
