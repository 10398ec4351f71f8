//! The counter-based generator as the kernels see it: the oracle of `shaders/lib/random.wgsl`.
//!
//! The generator itself is [`crate::random`], which is already plain integer arithmetic checked
//! against the published vectors; this module names what a kernel draws from it.

use crate::random::{Philox, Purpose, gumbel};

/// The Gumbel noise of one token: what `sample` adds to a logit divided by the temperature.
///
/// Four consecutive token ids share one Philox block, one word each.
pub fn token_gumbel(seed: u64, position: u32, token: u32) -> f32 {
    let block = Philox::new(seed).block(Purpose::Sample, position, token / 4, 0);
    gumbel(block[token as usize % 4])
}
