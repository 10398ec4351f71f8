//! Programs that decide whether a reply keeps a principle; the key `check` names them.
//!
//! `principles/schema.json` documents each check. Checks do not read the prompt, and most ignore meaning: a
//! reply with "I might" counts as hedged on any subject.

mod language;
mod language_words;
mod layout;
mod marks;
mod text;
mod wording;

use std::cmp::Ordering;

pub use language::{Language, language};
pub use text::contains_phrase;
pub(super) use text::{blocks, sentences};

/// A program that compares replies under a principle; most can also judge a single reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Check(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Index into [`PAIRS`].
    Pair(usize),
    /// Index into [`SINGLES`].
    Single(usize),
    Language(Language),
}

/// Whether the first of two replies keeps the principle better (`Greater`), equally well, or less.
type Compare = fn(&str, &str) -> Ordering;

const PAIRS: &[(&str, Compare)] = &[
    ("shorter", |a, b| fewer([text::n_words(a), 1], [text::n_words(b), 1])),
    ("longer", |a, b| fewer([text::n_words(b), 1], [text::n_words(a), 1])),
    ("short-sentences", short_sentences),
];

/// Whether a reply keeps the principle.
type Keeps = fn(&str) -> bool;

const SINGLES: &[(&str, Keeps)] = &[
    ("bullets", layout::bullets),
    ("numbered-steps", layout::numbered_steps),
    ("plain-text", layout::plain_text),
    ("headings", layout::headings),
    ("bold", layout::bold),
    ("several-paragraphs", layout::several_paragraphs),
    ("ends-with:question", marks::ends_with_question),
    ("ends-with:summary", wording::ends_with_summary),
    ("ends-with:offer", wording::ends_with_offer),
    ("opens-with:greeting", wording::opens_with_greeting),
    ("opens-with:question", wording::opens_with_question),
    ("opens-with:in-short", wording::opens_with_in_short),
    ("first-person", wording::first_person),
    ("second-person", wording::second_person),
    ("contains-example", wording::contains_example),
    ("no-digits", |text| !marks::digit(text)),
    ("hedged", wording::hedged),
    ("contractions", wording::contractions),
    ("exclamation", marks::exclamation),
    ("emoji", marks::emoji),
    ("lowercase", marks::lowercase),
];

const LANGUAGE: &str = "language:";

impl Check {
    /// All checks, including one for each language.
    pub fn all() -> impl Iterator<Item = Check> {
        let pairs = (0..PAIRS.len()).map(Kind::Pair);
        let singles = (0..SINGLES.len()).map(Kind::Single);
        pairs.chain(singles).chain(Language::all().map(Kind::Language)).map(Check)
    }

    /// The check with this name in files.
    pub fn from_name(name: &str) -> Option<Check> {
        Check::all().find(|check| check.name() == name)
    }

    /// Its name in files.
    pub fn name(self) -> String {
        match self.0 {
            Kind::Pair(at) => PAIRS[at].0.to_owned(),
            Kind::Single(at) => SINGLES[at].0.to_owned(),
            Kind::Language(language) => format!("{LANGUAGE}{}", language.code()),
        }
    }

    /// Whether a reply keeps the principle; `None` for a check that can only compare.
    pub fn keeps(self, reply: &str) -> Option<bool> {
        match self.0 {
            Kind::Pair(_) => None,
            Kind::Single(at) => Some(SINGLES[at].1(reply)),
            Kind::Language(wanted) => Some(language(reply) == Some(wanted)),
        }
    }

    /// Whether `first` keeps the principle better than `second` (`Greater`), less well (`Less`), or equally
    /// well (`Equal`); `Equal` does not decide which is preferred. For the negated principle the order is
    /// reversed.
    pub fn compare(self, first: &str, second: &str) -> Ordering {
        match self.0 {
            Kind::Pair(at) => PAIRS[at].1(first, second),
            Kind::Single(_) | Kind::Language(_) => self.keeps(first).cmp(&self.keeps(second)),
        }
    }
}

/// Fewer words per sentence are better.
fn short_sentences(first: &str, second: &str) -> Ordering {
    let count = |reply: &str| {
        let sentences = text::sentences(reply);
        let words: usize = sentences.iter().map(|sentence| text::n_words(sentence)).sum();
        [words, sentences.len().max(1)]
    };
    fewer(count(first), count(second))
}

/// Compares two ratios of counts; `Greater` if that of `first` is smaller. They count as equal if the smaller
/// is more than four fifths of the larger, because one word does not make a reply shorter.
fn fewer(first: [usize; 2], second: [usize; 2]) -> Ordering {
    let (first, second) = (first[0] * second[1], second[0] * first[1]);
    if first.min(second) * 5 > first.max(second) * 4 { Ordering::Equal } else { second.cmp(&first) }
}

#[cfg(test)]
mod tests;
