//! Q3_K: 256 weights in 16 sub-blocks of 16, 3 bits each: `w = d * scale * (q - 4)`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, fit, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Bit `i` of byte `j` is the third bit of weight `32i + j`.
    hmask: [u8; 32],
    /// Bits `2r, 2r + 1` of bytes `32h .. 32h + 32` are the low bits of weights `128h + 32r ..`.
    qs: [u8; 64],
    /// 16 scales of 6 bits, biased by 32: low nibbles in bytes 0..8 (scales 0..8 in the low,
    /// 8..16 in the high half); bits `2h, 2h + 1` of byte `8 + j` are the upper bits of scale
    /// `4h + j`.
    scales: [u8; 12],
    /// Scale of the scales, f16.
    d: [u8; 2],
}

const _: () = assert!(size_of::<Block>() == 110);

impl Block {
    /// The integers of weights `32i .. 32i + 32`.
    fn quads(&self, i: usize) -> quads::Quads {
        let low: quads::Quads = quads::words(&self.qs[32 * (i / 4)..]);
        let high: quads::Quads = quads::words(&self.hmask);
        std::array::from_fn(|j| {
            ((low[j] >> (2 * (i % 4))) & 0x0303_0303) | (((high[j] >> i) & 0x0101_0101) << 2)
        })
    }

    /// The 16 scales, in -32..32.
    fn scales(&self) -> [i8; 16] {
        std::array::from_fn(|i| {
            let low = (self.scales[i % 8] >> (4 * (i / 8))) & 0xF;
            let high = (self.scales[8 + i % 4] >> (2 * (i / 4))) & 3;
            (low | (high << 4)) as i8 - 32
        })
    }
}

pub(super) struct Q3K;

impl QuantFormat for Q3K {
    type Block = Block;
    const QUANT: Quant = Quant::Q3K;
    const NAME: &'static str = "q3_k";
    const FRAGMENT: &'static str = "weight/q3_k";
    const GGML_TYPE: u32 = 11;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 16;
    const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 16, scales: 13 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let (d, scales) = (quads::half(block.d), block.scales());
        for (i, out) in out.chunks_exact_mut(32).enumerate() {
            for (j, (w, q)) in out.iter_mut().zip(quads::values(&block.quads(i))).enumerate() {
                *w = d * f32::from(scales[2 * i + j / 16]) * (f32::from(q) - 4.0);
            }
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let fits: [f32; 16] = std::array::from_fn(|i| fit::symmetric(&weights[16 * i..16 * (i + 1)], 4));
        let (d_bytes, d) = quads::to_half(quads::extreme(&fits) / -32.0);
        let id = quads::reciprocal(d);
        let mut block = Block { hmask: [0; 32], qs: [0; 64], scales: [0; 12], d: d_bytes };
        for (i, fit) in fits.into_iter().enumerate() {
            let scale = fit::nearest(fit * id, -32.0, 31.0);
            let biased = (scale + 32.0) as u8;
            block.scales[i % 8] |= (biased & 0xF) << (4 * (i / 8));
            block.scales[8 + i % 4] |= (biased >> 4) << (2 * (i / 4));
            let inverse = quads::reciprocal(d * scale);
            for (j, w) in weights[16 * i..16 * (i + 1)].iter().enumerate() {
                let q = (fit::nearest(w * inverse, -4.0, 3.0) + 4.0) as u8;
                let column = 16 * (i % 2) + j;
                block.qs[32 * (i / 8) + column] |= (q & 3) << (2 * (i / 2 % 4));
                block.hmask[column] |= (q >> 2) << (i / 2);
            }
        }
        block
    }
}

impl BlockFormat for Q3K {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.scales.push(quads::pair_of_halves(block.d, [0, 0]));
        packed.scales.extend(quads::words::<4>(bytemuck::cast_slice(&block.scales())));
        for i in 0..8 {
            let quads = block.quads(i);
            packed.quants.extend(quads::pairs(&quads, 0));
            packed.scales.push(quads::bits(&quads, 2));
        }
    }
}
