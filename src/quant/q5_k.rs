//! Q5_K: 256 weights in 8 sub-blocks of 32, 5 bits each: `w = d * scale * q - dmin * min`.

use bytemuck::{Pod, Zeroable};

use super::six_bit::{self, SixBit};
use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Scale of the minima, f16.
    dmin: [u8; 2],
    scales: SixBit,
    /// Bit `i` of byte `j` is the fifth bit of weight `j` of sub-block `i`.
    qh: [u8; 32],
    /// The low 4 bits, as in Q4_K.
    qs: [u8; 128],
}

const _: () = assert!(size_of::<Block>() == 176);

impl Block {
    /// The integers of sub-block `i`.
    fn quads(&self, i: usize) -> quads::Quads {
        let low: quads::Quads = quads::words(&self.qs[32 * (i / 2)..]);
        let high: quads::Quads = quads::words(&self.qh);
        std::array::from_fn(|j| {
            ((low[j] >> (4 * (i % 2))) & 0x0F0F_0F0F) | (((high[j] >> i) & 0x0101_0101) << 4)
        })
    }
}

pub(super) struct Q5K;

impl QuantFormat for Q5K {
    type Block = Block;
    const QUANT: Quant = Quant::Q5K;
    const NAME: &'static str = "q5_k";
    const FRAGMENT: &'static str = "weight/q5_k";
    const GGML_TYPE: u32 = 13;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 32, scales: 13 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let (d, dmin) = (quads::half(block.d), quads::half(block.dmin));
        for (i, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = block.scales.get(i);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            for (w, q) in out.iter_mut().zip(quads::values(&block.quads(i))) {
                *w = scale * f32::from(q) - min;
            }
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let fitted = six_bit::quantize(weights, 31);
        let (mut qs, mut qh) = ([0; 128], [0; 32]);
        for (i, quads) in fitted.quads.iter().enumerate() {
            for (j, q) in quads::values(quads).into_iter().enumerate() {
                qs[32 * (i / 2) + j] |= (q & 0xF) << (4 * (i % 2));
                qh[j] |= (q >> 4) << i;
            }
        }
        Block { d: fitted.d, dmin: fitted.dmin, scales: fitted.scales, qh, qs }
    }
}

impl BlockFormat for Q5K {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.scales.push(quads::pair_of_halves(block.d, block.dmin));
        packed.scales.extend(block.scales.device_words());
        for i in 0..8 {
            let quads = block.quads(i);
            packed.quants.extend(quads::nibbles(&quads));
            packed.scales.push(quads::bits(&quads, 4));
        }
    }
}
