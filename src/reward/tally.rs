//! Counts how often the preferred reply has the larger score, grouped by what decided the pair.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::preferences::{DecidedBy, PreferencePair};

/// Number of pairs, and how many of them are ranked correctly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Number of pairs.
    pub pairs: usize,
    /// Number of pairs whose preferred reply has the larger score. Equal scores do not count.
    pub right: usize,
    /// `right / pairs`, 0 without pairs.
    pub accuracy: f64,
    /// Mean difference of the scores, preferred reply minus the other.
    pub margin: f64,
}

impl Tally {
    /// Counts a pair with this margin.
    pub(super) fn add(&mut self, margin: f64) {
        let sum = self.margin * self.pairs as f64 + margin;
        self.pairs += 1;
        self.right += usize::from(margin > 0.0);
        self.accuracy = self.right as f64 / self.pairs as f64;
        self.margin = sum / self.pairs as f64;
    }
}

/// Tallies of the same pairs, grouped in several ways.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tallies {
    /// All pairs.
    pub all: Tally,
    /// By the principle that decided. `rule` for pairs that a rule decided, `none` for preferences without
    /// principles.
    pub by_principle: BTreeMap<String, Tally>,
    /// By the principle whose negative decided.
    pub by_negative: BTreeMap<String, Tally>,
    /// By the number of principles in the list.
    pub by_length: BTreeMap<usize, Tally>,
}

impl Tallies {
    /// Returns the tallies of `pairs` with these margins.
    pub(super) fn of_pairs(pairs: &[PreferencePair], margins: &[f64]) -> Tallies {
        let mut tallies = Tallies::default();
        for (pair, &margin) in pairs.iter().zip(margins) {
            tallies.all.add(margin);
            tallies.by_length.entry(pair.principles.len()).or_default().add(margin);
            let (name, negated) = match pair.decided_by {
                DecidedBy::Principle(place) => match pair.principles.get(place) {
                    Some(bullet) => (bullet.principle.as_str(), bullet.negated),
                    None => ("none", false),
                },
                DecidedBy::Boilerplate | DecidedBy::Language => ("rule", false),
            };
            let by = if negated { &mut tallies.by_negative } else { &mut tallies.by_principle };
            by.entry(name.to_owned()).or_default().add(margin);
        }
        tallies
    }
}
