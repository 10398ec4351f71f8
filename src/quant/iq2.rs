//! IQ2_XXS, IQ2_XS and IQ2_S: 256 weights in 8 sub-blocks of 32. Eight magnitudes at a time are a point of a grid, and
//! each weight has a sign: `w = ± d * (2 s + 1) / 8 * level`, with a scale `s` of 4 bits for 16 weights (for 32 in
//! IQ2_XXS).
//!
//! On the device each weight has 3 bits, its level and its sign, so a kernel needs no grid. The three formats have the
//! same device layout.

use bytemuck::{Pod, Zeroable};

use super::grid::{Grid, even_signs, made_even, nibble_words, odd_scale, signs};
use super::grids::{IQ2_S, IQ2_XS, IQ2_XXS};
use super::quads::Quads;
use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

/// The levels. `shaders/weight/iq2.wgsl` holds the same ones.
static LEVELS: [u8; 3] = [8, 25, 43];
static GRID_XXS: Grid = Grid::new(&IQ2_XXS, 8, &LEVELS);
static GRID_XS: Grid = Grid::new(&IQ2_XS, 8, &LEVELS);
static GRID_S: Grid = Grid::new(&IQ2_S, 8, &LEVELS);

/// Bit of a quad that holds the sign. The two bits below hold the level.
const SIGN: u8 = 4;
/// Factor of a scale.
const FACTOR: f32 = 0.125;

const FRAGMENT: &str = "weight/iq2";
const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 16, scales: 11 };

/// What a block holds, for the three formats.
trait Parts {
    fn d(&self) -> [u8; 2];

    /// The 16 scales of 4 bits.
    fn scales(&self) -> [u8; 16];

    /// The grid, and the point and the signs of weights `8i .. 8i + 8`.
    fn point(&self, i: usize) -> (&'static Grid, usize, u8);

    /// Level and sign of weights `32i .. 32i + 32`.
    fn quads(&self, i: usize) -> Quads {
        let points: [_; 4] = std::array::from_fn(|k| self.point(4 * i + k));
        quads::from_values(|j| {
            let (grid, point, signs) = points[j / 8];
            grid.level(point, j % 8) | (((signs >> (j % 8)) & 1) * SIGN)
        })
    }
}

fn decode<B: Parts>(block: &B, out: &mut [f32]) {
    let (d, scales) = (quads::half(block.d()), block.scales());
    for (i, out) in out.chunks_exact_mut(32).enumerate() {
        for (j, (w, q)) in out.iter_mut().zip(quads::values(&block.quads(i))).enumerate() {
            let scale = d * (FACTOR * f32::from(2 * scales[2 * i + j / 16] + 1));
            let magnitude = scale * f32::from(LEVELS[usize::from(q % SIGN)]);
            *w = if q < SIGN { magnitude } else { -magnitude };
        }
    }
}

fn pack<B: Parts>(block: &B, packed: &mut Packed) {
    packed.scales.push(quads::pair_of_halves(block.d(), [0, 0]));
    packed.scales.extend(nibble_words::<2>(&block.scales()));
    for i in 0..8 {
        let quads = block.quads(i);
        packed.quants.extend(quads::pairs(&quads, 0));
        packed.scales.push(quads::bits(&quads, 2));
    }
}

/// 256 weights, quantized.
struct Fitted {
    d: [u8; 2],
    /// The 16 scales.
    scales: [u8; 16],
    /// The 32 points and their signs.
    points: [(usize, u8); 32],
}

/// Quantizes 256 weights, with a scale for each `group`, 16 or 32. With `even`, eight weights have an even number of
/// minus signs.
fn quantize(weights: &[f32], grid: &Grid, group: usize, even: bool) -> Fitted {
    let magnitudes: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
    let fits: Vec<f32> = magnitudes.chunks_exact(group).map(|some| grid.fit(some)).collect();
    let (d_bytes, d) = quads::to_half(quads::extreme(&fits) / (31.0 * FACTOR));
    let scales: [u8; 16] = std::array::from_fn(|i| odd_scale(fits[i * 16 / group], d * FACTOR));
    let points = std::array::from_fn(|i| {
        let inverse = quads::reciprocal(d * FACTOR * f32::from(2 * scales[i / 2] + 1));
        let mut scaled: [f32; 8] = std::array::from_fn(|j| magnitudes[8 * i + j] * inverse);
        let own = &weights[8 * i..8 * (i + 1)];
        let signs = if even { made_even(own, &mut scaled) } else { signs(own) };
        (grid.nearest(&scaled), signs)
    });
    Fitted { d: d_bytes, scales, points }
}

/// Nibbles as bytes, the first one low.
fn nibble_bytes(scales: &[u8; 16]) -> [u8; 8] {
    std::array::from_fn(|i| scales[2 * i] | (scales[2 * i + 1] << 4))
}

fn from_nibble_bytes(bytes: &[u8; 8]) -> [u8; 16] {
    std::array::from_fn(|i| (bytes[i / 2] >> (4 * (i % 2))) & 0xF)
}

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct BlockXxs {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// For each sub-block: 4 points in a byte each, then a word: four times 7 bits of signs, then 4 bits of scale.
    qs: [[u8; 8]; 8],
}

const _: () = assert!(size_of::<BlockXxs>() == 66);

impl BlockXxs {
    fn word(&self, i: usize) -> u32 {
        let [.., a, b, c, d] = self.qs[i];
        u32::from_le_bytes([a, b, c, d])
    }
}

impl Parts for BlockXxs {
    fn d(&self) -> [u8; 2] {
        self.d
    }

    fn scales(&self) -> [u8; 16] {
        std::array::from_fn(|i| (self.word(i / 2) >> 28) as u8)
    }

    fn point(&self, i: usize) -> (&'static Grid, usize, u8) {
        let signs = even_signs(((self.word(i / 4) >> (7 * (i % 4))) & 127) as u8);
        (&GRID_XXS, usize::from(self.qs[i / 4][i % 4]), signs)
    }
}

pub(super) struct Iq2Xxs;

impl QuantFormat for Iq2Xxs {
    type Block = BlockXxs;
    const QUANT: Quant = Quant::Iq2Xxs;
    const NAME: &'static str = "iq2_xxs";
    const FRAGMENT: &'static str = FRAGMENT;
    const GGML_TYPE: u32 = 16;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 16;
    const DEVICE: DeviceWords = DEVICE;
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &BlockXxs, out: &mut [f32]) {
        decode(block, out);
    }

    fn encode(weights: &[f32]) -> BlockXxs {
        let Fitted { d, scales, points } = quantize(weights, &GRID_XXS, 32, true);
        let mut block = BlockXxs { d, qs: [[0; 8]; 8] };
        for (i, qs) in block.qs.iter_mut().enumerate() {
            let mut word = u32::from(scales[2 * i]) << 28;
            for k in 0..4 {
                let (point, signs) = points[4 * i + k];
                qs[k] = point as u8;
                word |= u32::from(signs & 127) << (7 * k);
            }
            qs[4..].copy_from_slice(&word.to_le_bytes());
        }
        block
    }
}

impl BlockFormat for Iq2Xxs {
    fn pack(block: &BlockXxs, _index: usize, packed: &mut Packed) {
        pack(block, packed);
    }
}

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct BlockXs {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// For each eight weights: 9 bits of a point, then 7 bits of signs.
    qs: [[u8; 2]; 32],
    /// Nibble `i` is scale `i`.
    scales: [u8; 8],
}

const _: () = assert!(size_of::<BlockXs>() == 74);

impl Parts for BlockXs {
    fn d(&self) -> [u8; 2] {
        self.d
    }

    fn scales(&self) -> [u8; 16] {
        from_nibble_bytes(&self.scales)
    }

    fn point(&self, i: usize) -> (&'static Grid, usize, u8) {
        let word = u16::from_le_bytes(self.qs[i]);
        (&GRID_XS, usize::from(word & 511), even_signs((word >> 9) as u8))
    }
}

pub(super) struct Iq2Xs;

impl QuantFormat for Iq2Xs {
    type Block = BlockXs;
    const QUANT: Quant = Quant::Iq2Xs;
    const NAME: &'static str = "iq2_xs";
    const FRAGMENT: &'static str = FRAGMENT;
    const GGML_TYPE: u32 = 17;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 16;
    const DEVICE: DeviceWords = DEVICE;
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &BlockXs, out: &mut [f32]) {
        decode(block, out);
    }

    fn encode(weights: &[f32]) -> BlockXs {
        let Fitted { d, scales, points } = quantize(weights, &GRID_XS, 16, true);
        let qs = points.map(|(point, signs)| (point as u16 | (u16::from(signs & 127) << 9)).to_le_bytes());
        BlockXs { d, qs, scales: nibble_bytes(&scales) }
    }
}

impl BlockFormat for Iq2Xs {
    fn pack(block: &BlockXs, _index: usize, packed: &mut Packed) {
        pack(block, packed);
    }
}

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct BlockS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// The low 8 bits of a point for each eight weights.
    qs: [u8; 32],
    /// A bit for each weight, set if it is negative.
    signs: [u8; 32],
    /// Bits `2k, 2k + 1` of byte `i` are the upper bits of point `k` of sub-block `i`.
    qh: [u8; 8],
    /// Nibble `i` is scale `i`.
    scales: [u8; 8],
}

const _: () = assert!(size_of::<BlockS>() == 82);

impl Parts for BlockS {
    fn d(&self) -> [u8; 2] {
        self.d
    }

    fn scales(&self) -> [u8; 16] {
        from_nibble_bytes(&self.scales)
    }

    fn point(&self, i: usize) -> (&'static Grid, usize, u8) {
        let high = usize::from((self.qh[i / 4] >> (2 * (i % 4))) & 3);
        (&GRID_S, usize::from(self.qs[i]) | (high << 8), self.signs[i])
    }
}

pub(super) struct Iq2S;

impl QuantFormat for Iq2S {
    type Block = BlockS;
    const QUANT: Quant = Quant::Iq2S;
    const NAME: &'static str = "iq2_s";
    const FRAGMENT: &'static str = FRAGMENT;
    const GGML_TYPE: u32 = 22;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 16;
    const DEVICE: DeviceWords = DEVICE;
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &BlockS, out: &mut [f32]) {
        decode(block, out);
    }

    fn encode(weights: &[f32]) -> BlockS {
        let Fitted { d, scales, points } = quantize(weights, &GRID_S, 16, false);
        let mut block = BlockS { d, qs: [0; 32], signs: [0; 32], qh: [0; 8], scales: nibble_bytes(&scales) };
        for (i, (point, signs)) in points.into_iter().enumerate() {
            block.qs[i] = (point & 0xFF) as u8;
            block.signs[i] = signs;
            block.qh[i / 4] |= ((point >> 8) as u8) << (2 * (i % 4));
        }
        block
    }
}

impl BlockFormat for Iq2S {
    fn pack(block: &BlockS, _index: usize, packed: &mut Packed) {
        pack(block, packed);
    }
}
