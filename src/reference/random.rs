//! The kernels' random draws: the oracle of `shaders/lib/random.wgsl`.
//!
//! The generator itself is [`crate::random`], plain integer arithmetic that is checked against the
//! published vectors. This module computes the values that a kernel draws from it.

use crate::random::{Philox, Purpose, gumbel};

/// The Gumbel noise of one token, which `sample` adds to the logit divided by the temperature.
///
/// Four consecutive token ids share one Philox block, one word each.
pub fn token_gumbel(seed: u64, position: u32, token: u32) -> f32 {
    let block = Philox::new(seed).block(Purpose::Sample, position, token / 4, 0);
    gumbel(block[token as usize % 4])
}
