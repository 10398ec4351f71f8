//! Drawing the principles of a scoring prompt.

use super::{PrincipleSet, PromptType, Use};
use crate::random::{Philox, Purpose, fraction};

impl PrincipleSet {
    /// The principles of one scoring prompt, as indices into the set.
    ///
    /// From a set with `use = "sample"`, `draws` principles are drawn one after another without
    /// replacement. Each has a probability proportional to its weight plus its boost for prompts of this
    /// type. Any other set gives all its principles in their order.
    ///
    /// The draw depends only on the seed, `step` and `index`. Use a different pair for each score, or every
    /// sample of a batch gets the same principles.
    pub fn draw(&self, kind: PromptType, random: Philox, step: u32, index: u32) -> Vec<usize> {
        let Use::Sample { draws } = self.uses else {
            return (0..self.principles.len()).collect();
        };
        // Exponential clocks: the clock of rate w rings first with probability proportional to w, and the
        // others do not depend on that one (Efraimidis and Spirakis, 2006).
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
