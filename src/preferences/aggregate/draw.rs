//! All random draws for one training pair, made before anything is decided.

use super::AggregateOptions;
use crate::preferences::split::name;
use crate::random::{Philox, Purpose, fraction};

/// A principle of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Index among the principles that decide.
    pub principle: usize,
    pub negated: bool,
}

/// The random part of a pair. All numbers are uniform on `[0, 1)` and independent, so a change of one option
/// does not affect the draws of another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draw {
    /// The principles, in the order of the list.
    pub chosen: Vec<Chosen>,
    pub boilerplate: f64,
    pub language: f64,
    pub noise: f64,
    /// Position in the list for a principle that explains a rule's label.
    pub place: f64,
    pub swap: bool,
}

/// Number of random blocks for the whole pair. They come before the blocks of the principles.
const OF_PAIR: u32 = 3;

impl Draw {
    /// Returns the draw of one comparison in one pass, from the principles at the indices `eligible`.
    pub(super) fn new(options: &AggregateOptions, id: &str, pass: u32, eligible: &[usize]) -> Draw {
        // Two ids that share these 32 bits also share their draws, which does no harm.
        let [index, ..] = name(id);
        let block = |draw| Philox::new(options.seed).block(Purpose::Aggregate, pass, index, draw);
        let two = |draw| {
            let [a, b, c, d] = block(draw);
            [fraction(a, b), fraction(c, d)]
        };
        let ([count, boilerplate], [language, noise], [place, swap]) = (two(0), two(1), two(2));

        // Shuffles the list and keeps its first entries.
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
    /// Whether the mirror only negates the list.
    pub negated: bool,
    /// Selects one of the other possible principles. On `[0, 1)`.
    pub place: f64,
}

impl RivalDraw {
    /// Returns the draw for the pair with this id.
    pub(super) fn new(seed: u64, id: &str) -> RivalDraw {
        let [step, index, ..] = name(id);
        // The blocks of a pair's principles never reach this index.
        let [a, b, c, d] = Philox::new(seed).block(Purpose::Aggregate, step, index, u32::MAX);
        RivalDraw { negated: fraction(a, b) < 0.5, place: fraction(c, d) }
    }
}

/// Quantile `at` in `[0, 1)` of a geometric distribution that is truncated to the values from 1 to `most`. 0
/// if `most` is 0.
pub(super) fn geometric(success: f64, most: usize, at: f64) -> usize {
    let total = 1.0 - (1.0 - success).powi(most as i32);
    let below = |value: usize| (1.0 - (1.0 - success).powi(value as i32)) / total;
    (1..most).find(|&value| at < below(value)).unwrap_or(most)
}
