//! Q4_K: 256 weights in 8 sub-blocks of 32, 4 bits each: `w = d * scale * q - dmin * min`.

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
    /// Bytes `32h .. 32h + 32` hold sub-block `2h` in their low and `2h + 1` in their high nibbles.
    qs: [u8; 128],
}

const _: () = assert!(size_of::<Block>() == 144);

impl Block {
    /// The integers of sub-block `i`.
    fn quads(&self, i: usize) -> quads::Quads {
        let bytes: quads::Quads = quads::words(&self.qs[32 * (i / 2)..]);
        bytes.map(|word| (word >> (4 * (i % 2))) & 0x0F0F_0F0F)
    }
}

pub(super) struct Q4K;

impl QuantFormat for Q4K {
    type Block = Block;
    const QUANT: Quant = Quant::Q4K;
    const NAME: &'static str = "q4_k";
    const FRAGMENT: &'static str = "weight/q4_k";
    const GGML_TYPE: u32 = 12;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 32, scales: 5 };
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
        let fitted = six_bit::quantize(weights, 15);
        let mut qs = [0; 128];
        for (i, quads) in fitted.quads.iter().enumerate() {
            for (byte, q) in qs[32 * (i / 2)..].iter_mut().zip(quads::values(quads)) {
                *byte |= q << (4 * (i % 2));
            }
        }
        Block { d: fitted.d, dmin: fitted.dmin, scales: fitted.scales, qs }
    }
}

impl BlockFormat for Q4K {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.scales.push(quads::pair_of_halves(block.d, block.dmin));
        packed.scales.extend(block.scales.device_words());
        for i in 0..8 {
            packed.quants.extend(quads::nibbles(&block.quads(i)));
        }
    }
}
