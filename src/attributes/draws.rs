//! Random draws, one after the other.

use super::change::sentences;
use crate::random::{Philox, Purpose};

/// The random draws for one labelled reply, or for one part of an evaluation.
pub(crate) struct Draws {
    random: Philox,
    number: u32,
    next: u32,
}

impl Draws {
    /// The draws of this number in a run with this seed.
    pub fn new(seed: u64, number: u32) -> Draws {
        Draws { random: Philox::new(seed), number, next: 0 }
    }

    pub fn bits(&mut self) -> u64 {
        self.next += 1;
        self.random.bits64(Purpose::Attributes, self.number, self.next, 0)
    }

    /// A number below `n`, which is above 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.bits() >> 11) as f64 * 2f64.powi(-53)) < probability
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// The first sentences of a text: a random number of them, at most `most`.
    pub fn cut(&mut self, text: &str, most: usize) -> String {
        let parts = sentences(text.trim());
        let kept = 1 + self.below(most.min(parts.len()).max(1));
        let mut text: String = parts.into_iter().take(kept).collect();
        text.truncate(text.trim_end().len());
        text
    }
}
