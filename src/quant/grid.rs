//! Weights whose magnitudes are chosen together, as a point of a grid, with a sign each: the formats IQ2 and IQ3.

use std::sync::OnceLock;

use super::quads;

/// Relative widenings and narrowings of the plain scale that are tried when weights are quantized, in twentieths.
const STEPS: std::ops::RangeInclusive<i32> = -6..=3;
/// Number of the best scales for levels alone that are tried with the points of the grid.
const TRIED: usize = 3;

/// A grid of ggml.
pub(super) struct Grid {
    /// One level for each weight, in `bits` bits from the lowest on.
    points: &'static [u16],
    /// Number of weights of a point: 4 or 8.
    width: usize,
    bits: u32,
    /// The magnitudes that levels stand for, in ascending order.
    levels: &'static [u8],
    /// The magnitudes of all points, one point after the other, and half the sum of the squares of each point.
    values: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl Grid {
    pub(super) const fn new(points: &'static [u16], width: usize, levels: &'static [u8]) -> Grid {
        let bits = if width == 4 { 3 } else { 2 };
        Grid { points, width, bits, levels, values: OnceLock::new() }
    }

    /// The level of weight `at` of a point.
    pub(super) fn level(&self, point: usize, at: usize) -> u8 {
        ((self.points[point] >> (self.bits * at as u32)) & ((1 << self.bits) - 1)) as u8
    }

    fn values(&self) -> &(Vec<f32>, Vec<f32>) {
        self.values.get_or_init(|| {
            let value = |point, at| f32::from(self.levels[usize::from(self.level(point, at))]);
            let of_point = |point: usize| (0..self.width).map(move |at| value(point, at));
            let values: Vec<f32> = (0..self.points.len()).flat_map(of_point).collect();
            let half_square = |point: &[f32]| 0.5 * point.iter().map(|value| value * value).sum::<f32>();
            let squares = values.chunks_exact(self.width).map(half_square).collect();
            (values, squares)
        })
    }

    /// The point nearest to `magnitudes`, of which there is one for each weight of a point.
    pub(super) fn nearest(&self, magnitudes: &[f32]) -> usize {
        match self.width {
            4 => self.nearest_of::<4>(magnitudes),
            _ => self.nearest_of::<8>(magnitudes),
        }
    }

    fn nearest_of<const WIDTH: usize>(&self, magnitudes: &[f32]) -> usize {
        let (values, squares) = self.values();
        let mut wanted = [0.0; WIDTH];
        wanted.copy_from_slice(&magnitudes[..WIDTH]);
        let (mut best, mut least) = (0, f32::INFINITY);
        for (point, (values, square)) in values.chunks_exact(WIDTH).zip(squares).enumerate() {
            // Half the square of the distance, without the part that all points share.
            let product: f32 = (0..WIDTH).map(|at| values[at] * wanted[at]).sum();
            if square - product < least {
                (best, least) = (point, square - product);
            }
        }
        best
    }

    /// The level nearest to a magnitude.
    fn nearest_level(&self, magnitude: f32) -> f32 {
        let above = self.levels.windows(2).take_while(|pair| {
            let middle = 0.5 * (f32::from(pair[0]) + f32::from(pair[1]));
            magnitude > middle
        });
        f32::from(self.levels[above.count()])
    }

    /// The scale for which `scale * point` is close to `magnitudes`, in least squares.
    pub(super) fn fit(&self, magnitudes: &[f32]) -> f32 {
        let largest = quads::extreme(magnitudes);
        if largest == 0.0 || !largest.is_finite() {
            return 0.0;
        }
        let (top, lower) = self.levels.split_last().expect("a grid has levels");
        let near_top = STEPS.map(|step| f32::from(*top) * (1.0 + 0.05 * step as f32));
        let inverses = near_top.chain(lower.iter().map(|level| f32::from(*level)));
        // Each weight alone is fast, and leaves few scales for the search in the grid.
        let mut alone: Vec<(f32, f32)> = inverses
            .map(|level| level / largest)
            .map(|inverse| {
                (gain(magnitudes.iter().map(|one| (self.nearest_level(one * inverse), *one))).0, inverse)
            })
            .collect();
        alone.sort_by(|one, other| other.0.total_cmp(&one.0));
        // Not every grid has points with several magnitudes of the top level, but all have one of the lowest.
        let lowest = f32::from(self.levels[0]) / largest;
        let tried = alone.iter().take(TRIED).map(|(_, inverse)| *inverse).chain([lowest]);
        let (values, _) = self.values();
        let in_grid = tried.map(|inverse| {
            let mut pairs = Vec::with_capacity(magnitudes.len());
            for group in magnitudes.chunks_exact(self.width) {
                let mut scaled = [0.0; 8];
                scaled.iter_mut().zip(group).for_each(|(scaled, one)| *scaled = one * inverse);
                let point = self.nearest(&scaled[..self.width]) * self.width;
                pairs.extend(values[point..point + self.width].iter().copied().zip(group.iter().copied()));
            }
            gain(pairs.into_iter())
        });
        in_grid.max_by(|one, other| one.0.total_cmp(&other.0)).map_or(0.0, |(_, scale)| scale)
    }
}

/// Of pairs of a level and a magnitude: by how much the best scale lowers the squared error, and that scale.
fn gain(pairs: impl Iterator<Item = (f32, f32)>) -> (f32, f32) {
    let (mut sqq, mut sqw) = (0.0, 0.0);
    for (q, w) in pairs {
        (sqq, sqw) = (sqq + q * q, sqw + q * w);
    }
    (sqw * sqw / sqq, sqw / sqq)
}

/// The eight signs that seven bits stand for: the eighth makes the number of minus signs even.
pub(super) fn even_signs(seven: u8) -> u8 {
    seven | (((seven.count_ones() & 1) as u8) << 7)
}

/// The signs of eight weights, a set bit for each that is negative.
pub(super) fn signs(weights: &[f32]) -> u8 {
    weights.iter().enumerate().fold(0, |signs, (at, w)| signs | (u8::from(*w < 0.0) << at))
}

/// The signs of eight weights, with an even number of minus signs: if it is odd, the weight of least magnitude gets the
/// other sign, and `magnitudes` the opposite of its magnitude there.
pub(super) fn made_even(weights: &[f32], magnitudes: &mut [f32]) -> u8 {
    let signs = signs(weights);
    if signs.count_ones().is_multiple_of(2) {
        return signs;
    }
    let least =
        (0..weights.len()).min_by(|&a, &b| magnitudes[a].total_cmp(&magnitudes[b])).unwrap_or_default();
    magnitudes[least] = -magnitudes[least];
    signs ^ (1 << least)
}

/// The device words of 4-bit numbers, eight to a word.
pub(super) fn nibble_words<const N: usize>(numbers: &[u8]) -> [u32; N] {
    std::array::from_fn(|word| {
        (0..8).fold(0, |all, at| all | (u32::from(numbers[8 * word + at]) << (4 * at)))
    })
}

/// The nearest 4-bit `s` for which `d * (2 s + 1)` is `scale`.
pub(super) fn odd_scale(scale: f32, d: f32) -> u8 {
    super::fit::nearest(0.5 * (scale * quads::reciprocal(d) - 1.0), 0.0, 15.0) as u8
}
