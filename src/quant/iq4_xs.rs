//! IQ4_XS: 256 weights in 8 sub-blocks of 32, 4 bits each that choose one of 16 uneven levels:
//! `w = d * scale * LEVELS[q]`.

use bytemuck::{Pod, Zeroable};

use super::iq4_nl::LEVELS;
use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, fit, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits `2i, 2i + 1` are the upper bits of scale `i`.
    scales_h: [u8; 2],
    /// Nibble `i` holds the low bits of scale `i`. Scales have 6 bits, biased by 32.
    scales_l: [u8; 4],
    /// 16 bytes for each sub-block: byte `i` holds weight `i` in its low nibble and `16 + i` in its high nibble.
    qs: [[u8; 16]; 8],
}

const _: () = assert!(size_of::<Block>() == 136);

impl Block {
    /// The 8 scales, in -32..32.
    fn scales(&self) -> [i8; 8] {
        let high = u16::from_le_bytes(self.scales_h);
        std::array::from_fn(|i| {
            let low = (self.scales_l[i / 2] >> (4 * (i % 2))) & 0xF;
            let high = (high >> (2 * i)) & 3;
            (low | ((high as u8) << 4)) as i8 - 32
        })
    }
}

pub(super) struct Iq4Xs;

impl QuantFormat for Iq4Xs {
    type Block = Block;
    const QUANT: Quant = Quant::Iq4Xs;
    const NAME: &'static str = "iq4_xs";
    const FRAGMENT: &'static str = "weight/iq4_xs";
    const GGML_TYPE: u32 = 23;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 32, scales: 3 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let d = quads::half(block.d);
        for ((out, qs), scale) in out.chunks_exact_mut(32).zip(&block.qs).zip(block.scales()) {
            for (w, q) in out.iter_mut().zip(quads::values(&quads::from_nibbles(qs))) {
                *w = d * f32::from(scale) * f32::from(LEVELS[usize::from(q)]);
            }
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let fits: [f32; 8] = std::array::from_fn(|i| fit::levels(&weights[32 * i..32 * (i + 1)], &LEVELS));
        let (d_bytes, d) = quads::to_half(quads::extreme(&fits) / -32.0);
        let id = quads::reciprocal(d);
        let mut block = Block { d: d_bytes, scales_h: [0; 2], scales_l: [0; 4], qs: [[0; 16]; 8] };
        let mut high = 0;
        for (i, fit) in fits.into_iter().enumerate() {
            let scale = fit::nearest(fit * id, -32.0, 31.0);
            let biased = (scale + 32.0) as u8;
            block.scales_l[i / 2] |= (biased & 0xF) << (4 * (i % 2));
            high |= u16::from(biased >> 4) << (2 * i);
            let inverse = quads::reciprocal(d * scale);
            let q = quads::from_values(|j| fit::nearest_level(weights[32 * i + j] * inverse, &LEVELS));
            block.qs[i] = quads::nibble_bytes(&q);
        }
        block.scales_h = high.to_le_bytes();
        block
    }
}

impl BlockFormat for Iq4Xs {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.scales.push(quads::pair_of_halves(block.d, [0, 0]));
        packed.scales.extend(quads::words::<2>(bytemuck::cast_slice(&block.scales())));
        for qs in &block.qs {
            packed.quants.extend(quads::words::<4>(qs));
        }
    }
}
