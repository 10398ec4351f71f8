//! IQ4_NL: 32 weights, 4 bits each that choose one of 16 uneven levels, one scale: `w = d * LEVELS[q]`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, fit, quads};

/// ggml's levels, closer together near 0. The shaders `weight/iq4_nl` and `weight/iq4_xs` hold the same ones.
pub(super) const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale, f16.
    d: [u8; 2],
    /// Byte `i` holds weight `i` in its low nibble and weight `16 + i` in its high nibble.
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 18);

pub(super) struct Iq4Nl;

impl QuantFormat for Iq4Nl {
    type Block = Block;
    const QUANT: Quant = Quant::Iq4Nl;
    const NAME: &'static str = "iq4_nl";
    const FRAGMENT: &'static str = "weight/iq4_nl";
    const GGML_TYPE: u32 = 20;
    const WEIGHTS: usize = 32;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 64, quants: 8, scales: 1 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let d = quads::half(block.d);
        for (w, q) in out.iter_mut().zip(quads::values(&quads::from_nibbles(&block.qs))) {
            *w = d * f32::from(LEVELS[usize::from(q)]);
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let (d, scale) = quads::to_half(fit::levels(weights, &LEVELS));
        let inverse = quads::reciprocal(scale);
        let qs = quads::from_values(|i| fit::nearest_level(weights[i] * inverse, &LEVELS));
        Block { d, qs: quads::nibble_bytes(&qs) }
    }
}

impl BlockFormat for Iq4Nl {
    fn pack(block: &Block, index: usize, packed: &mut Packed) {
        packed.quants.extend(quads::words::<4>(&block.qs));
        packed.push_half(index, block.d, 1);
    }
}
