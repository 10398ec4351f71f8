//! Q5_1: 32 weights, 5 bits each, a scale and an offset: `w = d * q + m`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale, f16.
    d: [u8; 2],
    /// Offset, f16.
    m: [u8; 2],
    /// Bit `i` is the fifth bit of weight `i`.
    qh: [u8; 4],
    /// The low 4 bits, as in Q4_0.
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 24);

impl Block {
    fn quads(&self) -> quads::Quads {
        let mut quads = quads::from_nibbles(&self.qs);
        quads::or_mask(&mut quads, u32::from_le_bytes(self.qh), 4);
        quads
    }
}

pub(super) struct Q5_1;

impl QuantFormat for Q5_1 {
    type Block = Block;
    const QUANT: Quant = Quant::Q5_1;
    const NAME: &'static str = "q5_1";
    const FRAGMENT: &'static str = "weight/q5_1";
    const GGML_TYPE: u32 = 7;
    const WEIGHTS: usize = 32;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 32, quants: 4, scales: 2 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let (d, m) = (quads::half(block.d), quads::half(block.m));
        for (w, q) in out.iter_mut().zip(quads::values(&block.quads())) {
            *w = f32::from(q) * d + m;
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let (lo, hi) = quads::range(weights);
        let d = (hi - lo) / 31.0;
        let id = quads::reciprocal(d);
        let qs = quads::from_values(|i| quads::truncate((weights[i] - lo) * id + 0.5, 31));
        Block {
            d: quads::to_half(d).0,
            m: quads::to_half(lo).0,
            qh: quads::mask(&qs, 4).to_le_bytes(),
            qs: quads::nibble_bytes(&qs),
        }
    }
}

impl BlockFormat for Q5_1 {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.quants.extend(quads::words::<4>(&block.qs));
        packed.scales.push(quads::pair_of_halves(block.d, block.m));
        packed.scales.push(quads::bits(&block.quads(), 4));
    }
}
