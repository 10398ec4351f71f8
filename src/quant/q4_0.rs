//! Q4_0: 32 weights, 4 bits each, one scale: `w = d * (q - 8)`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale, f16.
    d: [u8; 2],
    /// Byte `i` holds weight `i` in its low nibble and weight `16 + i` in its high nibble.
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 18);

pub(super) struct Q4_0;

impl QuantFormat for Q4_0 {
    type Block = Block;
    const QUANT: Quant = Quant::Q4_0;
    const NAME: &'static str = "q4_0";
    const FRAGMENT: &'static str = "weight/q4_0";
    const GGML_TYPE: u32 = 2;
    const WEIGHTS: usize = 32;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 64, quants: 8, scales: 1 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let d = quads::half(block.d);
        for (w, q) in out.iter_mut().zip(quads::values(&quads::from_nibbles(&block.qs))) {
            *w = (f32::from(q) - 8.0) * d;
        }
    }

    fn encode(weights: &[f32]) -> Block {
        // The weight of largest magnitude becomes -8, because the levels have no +8.
        let d = quads::extreme(weights) / -8.0;
        let id = quads::reciprocal(d);
        let qs = quads::from_values(|i| quads::truncate(weights[i] * id + 8.5, 15));
        Block { d: quads::to_half(d).0, qs: quads::nibble_bytes(&qs) }
    }
}

impl BlockFormat for Q4_0 {
    fn pack(block: &Block, index: usize, packed: &mut Packed) {
        packed.quants.extend(quads::words::<4>(&block.qs));
        packed.push_half(index, block.d, 1);
    }
}
