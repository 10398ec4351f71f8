//! Q2_K: 256 weights in 16 sub-blocks of 16, 2 bits each: `w = d * scale * q - dmin * min`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, fit, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale (low nibble) and minimum (high nibble) of each sub-block.
    scales: [u8; 16],
    /// Bits `2r, 2r + 1` of bytes `32h .. 32h + 32` are weights `128h + 32r ..`.
    qs: [u8; 64],
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Scale of the minima, f16.
    dmin: [u8; 2],
}

const _: () = assert!(size_of::<Block>() == 84);

impl Block {
    /// The integers of weights `32i .. 32i + 32`.
    fn quads(&self, i: usize) -> quads::Quads {
        let bytes: quads::Quads = quads::words(&self.qs[32 * (i / 4)..]);
        bytes.map(|word| (word >> (2 * (i % 4))) & 0x0303_0303)
    }
}

pub(super) struct Q2K;

impl QuantFormat for Q2K {
    type Block = Block;
    const QUANT: Quant = Quant::Q2K;
    const NAME: &'static str = "q2_k";
    const FRAGMENT: &'static str = "weight/q2_k";
    const GGML_TYPE: u32 = 10;
    const WEIGHTS: usize = 256;
    const GROUP: usize = 16;
    const DEVICE: DeviceWords = DeviceWords { weights: 256, quants: 16, scales: 5 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let (d, dmin) = (quads::half(block.d), quads::half(block.dmin));
        for (i, out) in out.chunks_exact_mut(32).enumerate() {
            for (j, (w, q)) in out.iter_mut().zip(quads::values(&block.quads(i))).enumerate() {
                let scale = block.scales[2 * i + j / 16];
                let (scale, min) = (d * f32::from(scale & 0xF), dmin * f32::from(scale >> 4));
                *w = scale * f32::from(q) - min;
            }
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let fits: [(f32, f32); 16] = std::array::from_fn(|i| fit::affine(&weights[16 * i..16 * (i + 1)], 3));
        let largest = fits.iter().fold((0.0f32, 0.0f32), |(s, m), f| (s.max(f.0), m.max(f.1)));
        let (d_bytes, d) = quads::to_half(largest.0 / 15.0);
        let (dmin_bytes, dmin) = quads::to_half(largest.1 / 15.0);
        let (id, idmin) = (quads::reciprocal(d), quads::reciprocal(dmin));
        let mut block = Block { scales: [0; 16], qs: [0; 64], d: d_bytes, dmin: dmin_bytes };
        for (i, (scale, min)) in fits.into_iter().enumerate() {
            let scale = fit::nearest(scale * id, 0.0, 15.0);
            let min = fit::nearest(min * idmin, 0.0, 15.0);
            block.scales[i] = scale as u8 | ((min as u8) << 4);
            let inverse = quads::reciprocal(d * scale);
            for (j, w) in weights[16 * i..16 * (i + 1)].iter().enumerate() {
                let q = fit::nearest((w + dmin * min) * inverse, 0.0, 3.0) as u8;
                block.qs[32 * (i / 8) + 16 * (i % 2) + j] |= q << (2 * (i / 2 % 4));
            }
        }
        block
    }
}

impl BlockFormat for Q2K {
    fn pack(block: &Block, _index: usize, packed: &mut Packed) {
        packed.scales.push(quads::pair_of_halves(block.d, block.dmin));
        packed.scales.extend(quads::words::<4>(&block.scales));
        for i in 0..8 {
            packed.quants.extend(quads::pairs(&block.quads(i), 0));
        }
    }
}
