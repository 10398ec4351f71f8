//! Which principles stand in a scoring prompt.

use super::{PrincipleSet, PromptType, Use};
use crate::random::{Philox, Purpose, fraction};

impl PrincipleSet {
    /// The principles of one scoring prompt, by their place in the set.
    ///
    /// A set with `use = "sample"` gives its `draws` principles, one after another and without
    /// replacement, each with a chance in proportion to its weight plus its boost for prompts of this type.
    /// Every other set gives all of its principles in their order.
    ///
    /// The draw depends on the seed, `step` and `index` and on nothing else: a score of its own needs a
    /// name of its own, or every sample of a batch gets the same principles.
    pub fn draw(&self, kind: PromptType, random: Philox, step: u32, index: u32) -> Vec<usize> {
        let Use::Sample { draws } = self.uses else {
            return (0..self.principles.len()).collect();
        };
        // Exponential clocks: the one of rate w rings first with a chance in proportion to w, and the rest
        // go on as if it had not been there (Efraimidis and Spirakis, 2006).
        let clock = |(place, principle): (usize, &super::Principle)| {
            let [high, low, ..] = random.block(Purpose::DrawPrinciples, step, index, place as u32);
            let rate = principle.weight + principle.boost.of(kind);
            (-(1.0 - fraction(high, low)).ln() / rate, place)
        };
        let mut clocks: Vec<(f64, usize)> = self.principles.iter().enumerate().map(clock).collect();
        clocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        clocks.truncate(draws);
        clocks.into_iter().map(|(_, place)| place).collect()
    }
}
