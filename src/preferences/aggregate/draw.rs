//! Everything random about one training pair, drawn before anything is decided.

use super::AggregateOptions;
use crate::preferences::split::name;
use crate::random::{Philox, Purpose, fraction};

/// A principle of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Its place among the principles that decide.
    pub principle: usize,
    pub negated: bool,
}

/// The random part of a pair. All numbers are uniform on `[0, 1)` and independent, so that what one option
/// does with them changes nothing for another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draw {
    /// In the order in which they will be listed.
    pub chosen: Vec<Chosen>,
    pub boilerplate: f64,
    pub language: f64,
    pub noise: f64,
    /// Where a principle that explains a rule's label is put in.
    pub place: f64,
    pub swap: bool,
}

/// Draws of the whole pair, before those of each principle.
const OF_PAIR: u32 = 3;

impl Draw {
    /// The draw of one comparison in one pass, of the principles at these places.
    pub(super) fn new(options: &AggregateOptions, id: &str, pass: u32, eligible: &[usize]) -> Draw {
        // Should two ids share these 32 bits they share draws too, which does neither any harm.
        let [index, ..] = name(id);
        let block = |draw| Philox::new(options.seed).block(Purpose::Aggregate, pass, index, draw);
        let two = |draw| {
            let [a, b, c, d] = block(draw);
            [fraction(a, b), fraction(c, d)]
        };
        let ([count, boilerplate], [language, noise], [place, swap]) = (two(0), two(1), two(2));

        // The first of a freshly shuffled list.
        let mut keyed: Vec<(u64, Chosen)> = eligible
            .iter()
            .map(|&principle| {
                let [a, b, c, d] = block(OF_PAIR + principle as u32);
                let negated = fraction(c, d) < options.negation;
                (u64::from(a) << 32 | u64::from(b), Chosen { principle, negated })
            })
            .collect();
        keyed.sort_unstable_by_key(|(key, _)| *key);
        keyed.truncate(geometric(options.success, options.most_principles.min(eligible.len()), count));
        let chosen = keyed.into_iter().map(|(_, chosen)| chosen).collect();
        Draw { chosen, boilerplate, language, noise, place, swap: swap < 0.5 }
    }
}

/// The random part of a pair's mirror.
pub(super) struct RivalDraw {
    /// Whether it is the negated list and nothing else.
    pub negated: bool,
    /// Which of the principles that it may have instead, on `[0, 1)`.
    pub place: f64,
}

impl RivalDraw {
    /// The draw for the pair of this id.
    pub(super) fn new(seed: u64, id: &str) -> RivalDraw {
        let [step, index, ..] = name(id);
        // No pair has so many principles that theirs came as far.
        let [a, b, c, d] = Philox::new(seed).block(Purpose::Aggregate, step, index, u32::MAX);
        RivalDraw { negated: fraction(a, b) < 0.5, place: fraction(c, d) }
    }
}

/// The value of a geometric variable from 1 to `most`, one drawn anew until it is no greater, at the
/// quantile `at` in `[0, 1)`; 0 if `most` is.
pub(super) fn geometric(success: f64, most: usize, at: f64) -> usize {
    let total = 1.0 - (1.0 - success).powi(most as i32);
    let below = |value: usize| (1.0 - (1.0 - success).powi(value as i32)) / total;
    (1..most).find(|&value| at < below(value)).unwrap_or(most)
}
