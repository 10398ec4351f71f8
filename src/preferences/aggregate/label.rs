//! Which of two replies is to be preferred: pure functions of scores, texts and draws.

use std::cmp::Ordering;

use super::draw::Draw;
use crate::preferences::record::{Comparison, Scores};
use crate::principles::{Boilerplate, Language, Override, Overrides, contains_phrase, language};

/// How much better the first reply is under a principle, made comparable by `spread`, as the principle
/// stands or negated; 0 if the judge's verdict hangs on the order.
pub(super) fn gap(scores: Scores, spread: f64, negated: bool) -> f64 {
    let gap = scores.agreed() / spread;
    if negated { 0.0 - gap } else { gap }
}

/// The place of the most pronounced difference, the first of equal ones; `None` if there is no difference.
/// It decides alone: neither a sum nor a majority.
pub(super) fn dominant(gaps: &[f64]) -> Option<usize> {
    let mut dominant = None;
    for (at, gap) in gaps.iter().enumerate() {
        if gap.abs() > dominant.map_or(0.0, |dominant: usize| gaps[dominant].abs()) {
            dominant = Some(at);
        }
    }
    dominant
}

/// What the rules say of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ruling<'a> {
    /// Nothing: the principles decide.
    None,
    /// The rule decides: the first reply is preferred, or the second.
    Decided { rule: &'a Override, by: Rule, first: bool },
    /// The pair is of no use: neither reply is in the language of the prompt.
    Drop,
}

/// Which rule it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Boilerplate,
    Language,
}

/// What a comparison's texts have to do with the rules; the same in every pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    /// Whether each reply has a stock phrase.
    boilerplate: [bool; 2],
    /// Whether each reply is in another language than the prompt. What cannot be told is not.
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

/// Applies the rules in their order; the later one wins.
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
