//! One product on the device: whether a tile computes it correctly, and how long that takes.

use std::time::Duration;

use super::TuneError;
use crate::gpu::{Device, Loads, MEASURED_ROWS, Outputs, Recording, Tile};
use crate::model::Product;
use crate::ops::{Activation, LinearPart, Store, Weight, linear_by};
use crate::random::{Philox, Purpose, uniform01};
use crate::reference;

/// Distinct rows of the weight, which repeat: encoding all of a large matrix would take longer than measuring it.
const DISTINCT_OUTPUTS: usize = 61;
/// Distinct rows of x.
const DISTINCT_ROWS: usize = 16;
/// Most weights of a measured product. Hardware needs more until it is busy.
const MOST_WEIGHTS: [usize; 2] = [16 << 20, 2 << 20];
/// A product is repeated within a submission until it takes about this long.
const LEAST_TIME: Duration = Duration::from_millis(4);
/// Most repetitions.
const MOST_REPEATS: usize = 64;
/// Largest normalised mean square error of a right result: that of f32 sums over very wide rows.
const BOUND: f64 = 1e-9;

/// A product with random weights and inputs.
pub(super) struct Measured<'a> {
    device: &'a Device,
    product: Product,
    outputs: usize,
    weight: Weight,
    x: Activation,
    y: Activation,
    /// `(DISTINCT_ROWS, distinct outputs)`.
    expected: Vec<f32>,
}

impl<'a> Measured<'a> {
    /// Uploads the operands of `product`. The number of outputs is reduced if there are too many weights.
    pub(super) fn new(device: &'a Device, product: Product, loads: Loads) -> Result<Self, TuneError> {
        let Product { quant, outputs, inputs, .. } = product;
        let most = MOST_WEIGHTS[usize::from(device.capabilities().software)] / inputs.max(1);
        let least = if Outputs::of(outputs) == Outputs::Many { 2048 } else { 1 };
        let outputs = outputs.min(most.max(least));
        let distinct = outputs.min(DISTINCT_OUTPUTS);
        let scale = 1.0 / (inputs as f32).sqrt();
        let host = values(0, distinct * inputs, scale);
        let mut bytes = Vec::new();
        quant.encode(&host, &mut bytes);
        let mut decoded = vec![0.0; distinct * inputs];
        quant.decode(&bytes, &mut decoded);
        let row_bytes = bytes.len() / distinct;
        let all: Vec<u8> = bytes.iter().copied().cycle().take(outputs * row_bytes).collect();
        let part = LinearPart { quant, rows: outputs, bytes: &all };
        let weight = Weight::upload_to(device, "the weight of a measured product", &[part], inputs, loads)?;
        let rows = values(1, DISTINCT_ROWS * inputs, 1.0);
        let expected = reference::linear(&decoded, inputs, &rows, None, None);
        let most_rows = MEASURED_ROWS[MEASURED_ROWS.len() - 1];
        let x = Activation::new(device, "the rows of a measured product", most_rows, inputs)?;
        let mut padded = vec![0.0; most_rows * x.stride];
        for (row, padded) in padded.chunks_exact_mut(x.stride).enumerate() {
            padded[..inputs].copy_from_slice(&rows[row % DISTINCT_ROWS * inputs..][..inputs]);
        }
        device.write(&x.buffer, 0, &padded)?;
        let y = Activation::new(device, "the result of a measured product", most_rows, outputs)?;
        Ok(Measured { device, product, outputs, weight, x, y, expected })
    }

    pub(super) fn product(&self) -> Product {
        self.product
    }

    /// Outputs of the measured weight.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Floating-point operations of a product of `rows` rows.
    pub(super) fn flops(&self, rows: usize) -> f64 {
        2.0 * rows as f64 * self.outputs as f64 * self.product.inputs as f64
    }

    fn record(&self, tile: Tile, rows: usize, repeats: usize) -> Result<Recording, TuneError> {
        let mut recording = Recording::new(self.device);
        for _ in 0..repeats {
            linear_by(&mut recording, &self.weight, &self.x, &self.y, rows, Store::Overwrite, Some(tile))?;
        }
        Ok(recording)
    }

    /// Whether `tile` gives the values of the plain CPU loop, in every row and output.
    pub(super) fn is_right(&self, tile: Tile, rows: usize) -> Result<bool, TuneError> {
        self.device.write(&self.y.buffer, 0, &vec![f32::NAN; rows * self.y.stride])?;
        self.record(tile, rows, 1)?.submit()?;
        let found = self.device.read(&self.y.buffer, 0, rows * self.y.stride)?;
        let distinct = self.expected.len() / DISTINCT_ROWS;
        let (mut error, mut norm) = (0.0, 0.0);
        for (row, found) in found.chunks_exact(self.y.stride).enumerate() {
            let expected = &self.expected[row % DISTINCT_ROWS * distinct..][..distinct];
            for (output, &found) in found[..self.outputs].iter().enumerate() {
                let expected = f64::from(expected[output % distinct]);
                error += (f64::from(found) - expected).powi(2);
                norm += expected.powi(2);
            }
        }
        // A value that was not written is NaN, and no comparison with it holds.
        Ok(error <= BOUND * norm)
    }

    /// Repetitions of a product within a submission. The tile has run before, so that it is compiled.
    pub(super) fn repeats(&self, tile: Tile, rows: usize) -> Result<usize, TuneError> {
        let once = self.seconds(tile, rows, 1)?;
        let repeats = (LEAST_TIME.as_secs_f64() / once.max(1e-9)).ceil();
        Ok((repeats as usize).clamp(1, MOST_REPEATS))
    }

    /// Seconds of one product of `rows` rows, in one submission of `repeats`.
    pub(super) fn seconds(&self, tile: Tile, rows: usize, repeats: usize) -> Result<f64, TuneError> {
        Ok(self.record(tile, rows, repeats)?.time()?.as_secs_f64() / repeats as f64)
    }
}

/// Two ways to compute a product, timed in turn: whatever slows the machine down slows both down.
pub(super) struct Paired {
    /// The shortest time of each, in seconds.
    pub shortest: [f64; 2],
    /// The median of the second's time as a multiple of the first's.
    pub ratio: f64,
}

impl Paired {
    /// Rounds: odd, so that one of them is the median.
    const ROUNDS: usize = 7;

    pub(super) fn measure(
        first: (&Measured<'_>, Tile),
        second: (&Measured<'_>, Tile),
        rows: usize,
    ) -> Result<Paired, TuneError> {
        let both = [first, second];
        let repeats = [first.0.repeats(first.1, rows)?, second.0.repeats(second.1, rows)?];
        let mut shortest = [f64::INFINITY; 2];
        let mut ratios = Vec::with_capacity(Self::ROUNDS);
        for _ in 0..Self::ROUNDS {
            let mut times = [0.0; 2];
            for (which, (measured, tile)) in both.into_iter().enumerate() {
                times[which] = measured.seconds(tile, rows, repeats[which])?;
                shortest[which] = shortest[which].min(times[which]);
            }
            ratios.push(times[1] / times[0]);
        }
        ratios.sort_by(f64::total_cmp);
        Ok(Paired { shortest, ratio: ratios[Self::ROUNDS / 2] })
    }
}

/// `len` values, uniform in `(-scale, scale)`.
fn values(matrix: u32, len: usize, scale: f32) -> Vec<f32> {
    let random = Philox::new(0);
    let block = |index: usize| random.block(Purpose::Tune, matrix, index as u32, 0);
    let mut values: Vec<f32> =
        (0..len.div_ceil(4)).flat_map(block).map(|word| (uniform01(word) * 2.0 - 1.0) * scale).collect();
    values.truncate(len);
    values
}
