//! Q6_K: 256 weights in 16 sub-blocks of 16, 6 bits each: `w = d * scale * (q - 32)`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, fit, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Low nibbles: bytes `64h .. 64h + 64` hold weights `128h ..` in their low and
    /// `128h + 64 ..` in their high halves.
    ql: [u8; 128],
    /// Bits `2r, 2r + 1` of bytes `32h .. 32h + 32` are the upper bits of weights `128h + 32r ..`.
    qh: [u8; 64],
    /// Scale of each sub-block.
    scales: [i8; 16],
    /// Scale of the scales, f16.
    d: [u8; 2],
}

const _: () = assert!(size_of::<Block>() == 210);

impl Block {
    /// The integers of weights `32i .. 32i + 32`.
    fn quads(&self, i: usize) -> quads::Quads {
        let (half, r) = (i / 4, i % 4);
        let low: quads::Quads = quads::words(&self.ql[64 * half + 32 * (r % 2)..]);
        let high: quads::Quads = quads::words(&self.qh[32 * half..]);
        std::array::from_fn(|j| {
            ((low[j] >> (4 * (r / 2))) & 0x0F0F_0F0F) | (((high[j] >> (2 * r)) & 0x0303_0303) << 4)
        })
    }
}

pub(super) struct Q6K;

impl QuantFormat for Q6K {
    type Block = Block;
    const QUANT: Quant = Quant::Q6K;
    const NAME: &'static str = "q6_k";
    const FRAGMENT: &'static str = "weight/q6_k";
    const GGML_TYPE: u32 = 14;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 16;
    const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 32, scales: 21 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let d = quads::half(block.d);
        for (i, out) in out.chunks_exact_mut(32).enumerate() {
            for (j, (w, q)) in out.iter_mut().zip(quads::values(&block.quads(i))).enumerate() {
                *w = d * f32::from(block.scales[2 * i + j / 16]) * (f32::from(q) - 32.0);
            }
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let fits: [f32; 16] = std::array::from_fn(|i| fit::symmetric(&weights[16 * i..16 * (i + 1)], 32));
        let (d_bytes, d) = quads::to_half(quads::extreme(&fits) / -128.0);
        let id = quads::reciprocal(d);
        let mut block = Block { ql: [0; 128], qh: [0; 64], scales: [0; 16], d: d_bytes };
        for (i, fit) in fits.into_iter().enumerate() {
            let scale = fit::nearest(fit * id, -128.0, 127.0);
            block.scales[i] = scale as i8;
            let inverse = quads::reciprocal(d * scale);
            let (half, r) = (i / 8, i / 2 % 4);
            for (j, w) in weights[16 * i..16 * (i + 1)].iter().enumerate() {
                let q = (fit::nearest(w * inverse, -32.0, 31.0) + 32.0) as u8;
                let column = 16 * (i % 2) + j;
                block.ql[64 * half + 32 * (r % 2) + column] |= (q & 0xF) << (4 * (r / 2));
                block.qh[32 * half + column] |= (q >> 4) << (2 * r);
            }
        }
        block
    }
}

impl BlockFormat for Q6K {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.scales.push(quads::pair_of_halves(block.d, [0, 0]));
        packed.scales.extend(quads::words::<4>(bytemuck::cast_slice(&block.scales)));
        for i in 0..8 {
            let quads = block.quads(i);
            packed.quants.extend(quads::nibbles(&quads));
            packed.scales.extend(quads::pairs(&quads, 4));
        }
    }
}
