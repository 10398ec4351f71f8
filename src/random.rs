//! Counter-based random numbers: the value of a draw depends on its purpose, never on when
//! or where it is made.
//!
//! Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A
//! run has one 64-bit seed, the key; a draw is named by its [`Purpose`], a step, an index and a
//! draw number, the counter. The same name gives the same bits on the CPU, on any GPU
//! (`shaders/lib/random.wgsl` is the same function), and in any batch.

/// The purpose of random bits: the third word of the counter, so that no two uses of one
/// seed ever share bits.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Purpose {
    /// The next token of a sequence: step = its position, index = token id / 4, and the word of
    /// the block = token id % 4.
    Sample = 1,
    /// Inputs of the kernel checks in `conformance`.
    Conformance = 2,
    /// Weights of a model without a checkpoint: step = the matrix, index = four weights.
    RandomWeights = 3,
    /// The first values of an adapter: step = layer * 7 + projection, or `u32::MAX` for its scalar head,
    /// index = four values.
    LoraInit = 4,
    /// The order of training rows: step = the epoch, index = the row. Draw 1 of step 0 chooses the rows
    /// that are held out.
    Shuffle = 5,
    /// The principles of a scoring prompt: draw = the principle's place in its set.
    DrawPrinciples = 6,
    /// Which prompts are held out: step and index = words of the prompt's hash.
    HoldOut = 7,
    /// How judged replies become training pairs: step = the pass, index = a word of the hash of the
    /// comparison's id, draw = the decision that the bits are for.
    Aggregate = 8,
    /// How replies to be compared are sampled: step and index = words of the hash of the prompt's id, draw =
    /// the number of the reply (its seed) or of the pair (its principles and the order of its replies).
    Preferences = 10,
    /// The seeds of candidates from which one is chosen: index = the candidate, from 1.
    Candidates = 15,
    /// The seed of each reply of a rollout: step = the rollout, index = the reply.
    Rollout = 12,
    /// The order in which training uses the replies of a rollout: step = the rollout, index = the reply,
    /// draw = how often it was used before.
    MiniBatch = 13,
    /// The seeds of answers in self-alignment: step and index = words of the hash of the prompt's id.
    SelfAlign = 14,
    /// The seeds of prompts on which steering methods are compared: index = the prompt.
    Compare = 16,
    /// How a plain reply is edited and labelled: step = the labelled reply, index = the decision.
    Attributes = 17,
    /// Operands of the products that tuning measures: step = the matrix, index = four values.
    Tune = 18,
}

/// The generator of one run; its seed is its only state.
///
/// ```
/// use parr::random::{Philox, Purpose};
///
/// let random = Philox::new(7);
/// let block = random.block(Purpose::Sample, 3, 100, 0);
/// assert_eq!(block, Philox::new(7).block(Purpose::Sample, 3, 100, 0));
/// assert_ne!(block, random.block(Purpose::Sample, 4, 100, 0));
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Philox {
    /// The run's seed; its low and high words are the key.
    pub seed: u64,
}

impl Philox {
    /// The generator of the run with this seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Four independent uniform 32-bit words for one named draw.
    pub fn block(self, purpose: Purpose, step: u32, index: u32, draw: u32) -> [u32; 4] {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        philox4x32([index, step, purpose as u32, draw], key)
    }

    /// 64 uniform bits, for seeds and for keys to sort by: words 0 and 1 of the block, the lower half first.
    pub fn bits64(self, purpose: Purpose, step: u32, index: u32, draw: u32) -> u64 {
        let [low, high, ..] = self.block(purpose, step, index, draw);
        u64::from(high) << 32 | u64::from(low)
    }

    /// A uniform f32 strictly inside (0, 1): [`uniform01`] of word 0 of the block.
    pub fn uniform(self, purpose: Purpose, step: u32, index: u32, draw: u32) -> f32 {
        uniform01(self.block(purpose, step, index, draw)[0])
    }
}

/// The Philox4x32-10 bijection: ten rounds on `counter` under `key`.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    // Multipliers and Weyl increments of table 2 and section 3.3 of the paper.
    const M0: u64 = 0xD251_1F53;
    const M1: u64 = 0xCD9E_8D57;
    const W0: u32 = 0x9E37_79B9;
    const W1: u32 = 0xBB67_AE85;
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let (p0, p1) = (M0 * u64::from(c0), M1 * u64::from(c2));
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0, c1, c2, c3]
}

/// Maps 32 uniform bits to a uniform f32 strictly inside (0, 1): one of 2^23 bin centres.
///
/// Only 23 bits, because the centre of one of 2^24 bins needs a 25th bit above 1/2 and would
/// round to 1.
pub fn uniform01(bits: u32) -> f32 {
    (bits >> 9) as f32 * 2f32.powi(-23) + 2f32.powi(-24)
}

/// Maps 64 uniform bits to a uniform f64 in `[0, 1)`: one of 2^53 multiples of 2^-53.
pub fn fraction(high: u32, low: u32) -> f64 {
    let bits = u64::from(high) << 32 | u64::from(low);
    (bits >> 11) as f64 * 2f64.powi(-53)
}

/// Maps 32 uniform bits to a standard Gumbel variable, `-ln(-ln(1 - v))` with `v` the bits as a
/// fraction.
///
/// The upper tail decides which token is drawn, so `v` has full relative precision near 0: values
/// reach 22.9, so that a token of probability 1e-10 is still drawn as often as it should be.
pub fn gumbel(bits: u32) -> f32 {
    // f32 rounds the largest bits up to 1; clamp to the last f32 below it.
    let v = (bits as f32 * 2f32.powi(-32) + 2f32.powi(-33)).min(1.0 - 2f32.powi(-24));
    let v = f64::from(v);
    (-(-(-v).ln_1p()).ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors that ship with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniform_stays_inside_the_open_interval() {
        assert_eq!(uniform01(0), 2f32.powi(-24));
        assert_eq!(uniform01(u32::MAX), 1.0 - 2f32.powi(-24));
        assert!(uniform01(u32::MAX) < 1.0);
    }

    #[test]
    fn fractions_reach_zero_and_stay_below_one() {
        assert_eq!(fraction(0, 0), 0.0);
        assert_eq!(fraction(1 << 31, 0), 0.5);
        assert_eq!(fraction(u32::MAX, u32::MAX), 1.0 - 2f64.powi(-53));
    }

    #[test]
    fn gumbel_is_finite_rising_and_has_the_right_mean() {
        assert!((gumbel(0) - 22.9).abs() < 0.1 && gumbel(u32::MAX) > -2.9);
        assert!(gumbel(0) > gumbel(1) && gumbel(1 << 30) > gumbel(1 << 31));
        let random = Philox::new(1);
        let mean =
            (0..20_000).map(|i| f64::from(gumbel(random.block(Purpose::Sample, 0, i, 0)[0]))).sum::<f64>()
                / 20_000.0;
        // Mean is Euler's constant, standard deviation 1.28: 20 000 draws give 0.009.
        assert!((mean - 0.5772).abs() < 0.03, "mean {mean}");
    }

    #[test]
    fn every_word_of_the_name_matters() {
        let one = Philox::new(5).block(Purpose::Sample, 1, 2, 3);
        for other in [
            Philox::new(6).block(Purpose::Sample, 1, 2, 3),
            Philox::new(5 + (1 << 32)).block(Purpose::Sample, 1, 2, 3),
            Philox::new(5).block(Purpose::Conformance, 1, 2, 3),
            Philox::new(5).block(Purpose::Sample, 2, 2, 3),
            Philox::new(5).block(Purpose::Sample, 1, 3, 3),
            Philox::new(5).block(Purpose::Sample, 1, 2, 4),
        ] {
            assert_ne!(one, other);
        }
    }
}
