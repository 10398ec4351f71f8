//! Weights from a seed, for measuring speed without a checkpoint.

use std::borrow::Cow;

use super::weights::{Matrix, WeightSource};
use crate::Error;
use crate::quant::Quant;
use crate::random::{Philox, Purpose};

/// Matrices of small pseudo-random values in one format, norms of one, no biases.
pub(super) struct RandomSource {
    quant: Quant,
    generator: Philox,
    matrices: u32,
}

impl RandomSource {
    pub(super) fn new(quant: Quant, seed: u64) -> Self {
        RandomSource { quant, generator: Philox::new(seed), matrices: 0 }
    }
}

/// The format of a random matrix of `cols` columns, if `quant` is wanted.
pub(super) fn random_as(quant: Quant, cols: usize) -> Quant {
    if cols.is_multiple_of(quant.block_weights()) { quant } else { Quant::F16 }
}

/// Number of distinct rows of a random matrix: too many for any cache, few enough to generate quickly.
const DISTINCT_ROWS: usize = 64;

impl<'s> WeightSource<'s> for RandomSource {
    fn matrix(&mut self, _name: &str, rows: usize, cols: usize) -> Result<Matrix<'s>, Error> {
        self.matrices += 1;
        let quant = random_as(self.quant, cols);
        let scale = 1.0 / (cols as f32).sqrt();
        let distinct = rows.min(DISTINCT_ROWS);
        let mut values = Vec::with_capacity(distinct * cols);
        for index in 0..(distinct * cols).div_ceil(4) {
            let words = self.generator.block(Purpose::RandomWeights, self.matrices, index as u32, 0);
            values.extend(words.map(|word| (word as f32 / u32::MAX as f32 * 2.0 - 1.0) * scale));
        }
        values.truncate(distinct * cols);
        let mut block = Vec::new();
        quant.encode(&values, &mut block);
        let row_bytes = block.len() / distinct;
        let bytes = block.iter().copied().cycle().take(rows * row_bytes).collect();
        Ok(Matrix { quant, bytes: Cow::Owned(bytes) })
    }

    fn vector(&mut self, _name: &str, len: usize) -> Result<Vec<f32>, Error> {
        Ok(vec![1.0; len])
    }

    fn taps(&mut self, _name: &str, width: usize, taps: usize) -> Result<Vec<f32>, Error> {
        Ok(vec![1.0 / taps as f32; width * taps])
    }

    fn has(&self, _name: &str) -> bool {
        false
    }
}
