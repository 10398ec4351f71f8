//! IQ3_XXS and IQ3_S: 256 weights in 8 sub-blocks of 32. Four magnitudes at a time are a point of a grid, and each
//! weight has a sign: `w = ± d * (2 s + 1) * f * level`, with a scale `s` of 4 bits and a factor `f` of the format.
//!
//! On the device each weight has 4 bits, its level and its sign, so a kernel needs no grid.

use bytemuck::{Pod, Zeroable};

use super::grid::{Grid, even_signs, made_even, nibble_words, odd_scale, signs};
use super::grids::{IQ3_S, IQ3_XXS};
use super::quads::Quads;
use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

/// Bit of a quad that holds the sign. The bits below hold the level.
const SIGN: u8 = 8;

/// The device layout of both formats.
const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 32, scales: 2 };

/// `shaders/weight/iq3_xxs.wgsl` and `shaders/weight/iq3_s.wgsl` hold the same levels.
static GRID_XXS: Grid = Grid::new(&IQ3_XXS, 4, &LEVELS_XXS);
static LEVELS_XXS: [u8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
static GRID_S: Grid = Grid::new(&IQ3_S, 4, &LEVELS_S);
static LEVELS_S: [u8; 8] = [1, 3, 5, 7, 9, 11, 13, 15];

/// What a block holds, for both formats.
trait Parts {
    const FACTOR: f32;
    const LEVELS: &'static [u8; 8];

    fn d(&self) -> [u8; 2];

    /// The 8 scales of 4 bits.
    fn scales(&self) -> [u8; 8];

    /// Level and sign of weights `32i .. 32i + 32`.
    fn quads(&self, i: usize) -> Quads;
}

fn decode<B: Parts>(block: &B, out: &mut [f32]) {
    let d = quads::half(block.d());
    for (i, (out, scale)) in out.chunks_exact_mut(32).zip(block.scales()).enumerate() {
        let scale = d * (B::FACTOR * f32::from(2 * scale + 1));
        for (w, q) in out.iter_mut().zip(quads::values(&block.quads(i))) {
            let magnitude = scale * f32::from(B::LEVELS[usize::from(q % SIGN)]);
            *w = if q < SIGN { magnitude } else { -magnitude };
        }
    }
}

fn pack<B: Parts>(block: &B, packed: &mut Packed) {
    packed.scales.push(quads::pair_of_halves(block.d(), [0, 0]));
    packed.scales.extend(nibble_words::<1>(&block.scales()));
    for i in 0..8 {
        packed.quants.extend(quads::nibbles(&block.quads(i)));
    }
}

/// The largest scale as two bytes, and all scales of `fits` in 4 bits.
fn scales(fits: &[f32; 8], factor: f32) -> ([u8; 2], f32, [u8; 8]) {
    let (d_bytes, d) = quads::to_half(quads::extreme(fits) / (31.0 * factor));
    (d_bytes, d, fits.map(|fit| odd_scale(fit, d * factor)))
}

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct BlockXxs {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// A point for each four weights.
    qs: [u8; 64],
    /// For each sub-block a word: four times 7 bits of signs, then 4 bits of scale.
    signs: [[u8; 4]; 8],
}

const _: () = assert!(size_of::<BlockXxs>() == 98);

impl Parts for BlockXxs {
    const FACTOR: f32 = 0.25;
    const LEVELS: &'static [u8; 8] = &LEVELS_XXS;

    fn d(&self) -> [u8; 2] {
        self.d
    }

    fn scales(&self) -> [u8; 8] {
        self.signs.map(|word| word[3] >> 4)
    }

    fn quads(&self, i: usize) -> Quads {
        let word = u32::from_le_bytes(self.signs[i]);
        quads::from_values(|j| {
            let level = GRID_XXS.level(usize::from(self.qs[8 * i + j / 4]), j % 4);
            let signs = even_signs(((word >> (7 * (j / 8))) & 127) as u8);
            level | (((signs >> (j % 8)) & 1) * SIGN)
        })
    }
}

pub(super) struct Iq3Xxs;

impl QuantFormat for Iq3Xxs {
    type Block = BlockXxs;
    const QUANT: Quant = Quant::Iq3Xxs;
    const NAME: &'static str = "iq3_xxs";
    const FRAGMENT: &'static str = "weight/iq3_xxs";
    const GGML_TYPE: u32 = 18;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DEVICE;
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &BlockXxs, out: &mut [f32]) {
        decode(block, out);
    }

    fn encode(weights: &[f32]) -> BlockXxs {
        let magnitudes: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
        let fits = std::array::from_fn(|i| GRID_XXS.fit(&magnitudes[32 * i..32 * (i + 1)]));
        let (d_bytes, d, scales) = scales(&fits, BlockXxs::FACTOR);
        let mut block = BlockXxs { d: d_bytes, qs: [0; 64], signs: [[0; 4]; 8] };
        for (i, scale) in scales.into_iter().enumerate() {
            let inverse = quads::reciprocal(d * BlockXxs::FACTOR * f32::from(2 * scale + 1));
            let mut word = u32::from(scale) << 28;
            for eighth in 0..4 {
                let first = 32 * i + 8 * eighth;
                let mut scaled: [f32; 8] = std::array::from_fn(|j| magnitudes[first + j] * inverse);
                let signs = made_even(&weights[first..first + 8], &mut scaled);
                word |= u32::from(signs & 127) << (7 * eighth);
                for half in 0..2 {
                    let point = GRID_XXS.nearest(&scaled[4 * half..4 * (half + 1)]);
                    block.qs[8 * i + 2 * eighth + half] = point as u8;
                }
            }
            block.signs[i] = word.to_le_bytes();
        }
        block
    }
}

impl BlockFormat for Iq3Xxs {
    fn pack(block: &BlockXxs, _index: usize, packed: &mut Packed) {
        pack(block, packed);
    }
}

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct BlockS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// The low 8 bits of a point for each four weights.
    qs: [u8; 64],
    /// Bit `k` of byte `i` is the upper bit of point `k` of sub-block `i`.
    qh: [u8; 8],
    /// A bit for each weight, set if it is negative.
    signs: [u8; 32],
    /// Nibble `i` is scale `i`.
    scales: [u8; 4],
}

const _: () = assert!(size_of::<BlockS>() == 110);

impl Parts for BlockS {
    const FACTOR: f32 = 1.0;
    const LEVELS: &'static [u8; 8] = &LEVELS_S;

    fn d(&self) -> [u8; 2] {
        self.d
    }

    fn scales(&self) -> [u8; 8] {
        std::array::from_fn(|i| (self.scales[i / 2] >> (4 * (i % 2))) & 0xF)
    }

    fn quads(&self, i: usize) -> Quads {
        quads::from_values(|j| {
            let high = usize::from((self.qh[i] >> (j / 4)) & 1);
            let level = GRID_S.level(usize::from(self.qs[8 * i + j / 4]) | (high << 8), j % 4);
            level | (((self.signs[4 * i + j / 8] >> (j % 8)) & 1) * SIGN)
        })
    }
}

pub(super) struct Iq3S;

impl QuantFormat for Iq3S {
    type Block = BlockS;
    const QUANT: Quant = Quant::Iq3S;
    const NAME: &'static str = "iq3_s";
    const FRAGMENT: &'static str = "weight/iq3_s";
    const GGML_TYPE: u32 = 21;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DEVICE;
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &BlockS, out: &mut [f32]) {
        decode(block, out);
    }

    fn encode(weights: &[f32]) -> BlockS {
        let magnitudes: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
        let fits = std::array::from_fn(|i| GRID_S.fit(&magnitudes[32 * i..32 * (i + 1)]));
        let (d_bytes, d, scales) = scales(&fits, BlockS::FACTOR);
        let mut block = BlockS { d: d_bytes, qs: [0; 64], qh: [0; 8], signs: [0; 32], scales: [0; 4] };
        for (i, scale) in scales.into_iter().enumerate() {
            block.scales[i / 2] |= scale << (4 * (i % 2));
            let inverse = quads::reciprocal(d * f32::from(2 * scale + 1));
            for k in 0..8 {
                let first = 32 * i + 4 * k;
                let scaled: [f32; 4] = std::array::from_fn(|j| magnitudes[first + j] * inverse);
                let point = GRID_S.nearest(&scaled);
                block.qs[8 * i + k] = (point & 0xFF) as u8;
                block.qh[i] |= ((point >> 8) as u8) << k;
            }
        }
        for (bits, weights) in block.signs.iter_mut().zip(weights.chunks_exact(8)) {
            *bits = signs(weights);
        }
        block
    }
}

impl BlockFormat for Iq3S {
    fn pack(block: &BlockS, _index: usize, packed: &mut Packed) {
        pack(block, packed);
    }
}
