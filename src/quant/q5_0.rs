//! Q5_0: 32 weights, 5 bits each, one scale: `w = d * (q - 16)`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale, f16.
    d: [u8; 2],
    /// Bit `i` is the fifth bit of weight `i`.
    qh: [u8; 4],
    /// The low 4 bits, as in Q4_0.
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 22);

impl Block {
    fn quads(&self) -> quads::Quads {
        let mut quads = quads::from_nibbles(&self.qs);
        quads::or_mask(&mut quads, u32::from_le_bytes(self.qh), 4);
        quads
    }
}

pub(super) struct Q5_0;

impl QuantFormat for Q5_0 {
    type Block = Block;
    const QUANT: Quant = Quant::Q5_0;
    const NAME: &'static str = "q5_0";
    const FRAGMENT: &'static str = "weight/q5_0";
    const GGML_TYPE: u32 = 6;
    const WEIGHTS: usize = 32;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 64, quants: 8, scales: 3 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let d = quads::half(block.d);
        for (w, q) in out.iter_mut().zip(quads::values(&block.quads())) {
            *w = (f32::from(q) - 16.0) * d;
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let d = quads::extreme(weights) / -16.0;
        let id = quads::reciprocal(d);
        let qs = quads::from_values(|i| quads::truncate(weights[i] * id + 16.5, 31));
        Block { d: quads::to_half(d).0, qh: quads::mask(&qs, 4).to_le_bytes(), qs: quads::nibble_bytes(&qs) }
    }
}

impl BlockFormat for Q5_0 {
    fn pack(block: &Block, index: usize, packed: &mut Packed) {
        packed.quants.extend(quads::words::<4>(&block.qs));
        // Two blocks: their scales in one word, then a word of fifth bits for each.
        packed.push_half(index, block.d, 2);
        packed.scales.push(quads::bits(&block.quads(), 4));
    }
}
