//! The 12 bytes in which Q4_K and Q5_K store eight 6-bit scales and eight 6-bit minima.

use bytemuck::{Pod, Zeroable};

use super::{fit, quads};

/// Bytes 0..4 hold scales 0..4 and bytes 4..8 minima 0..4 in their low 6 bits. Bytes 8..12 hold the
/// low nibbles of scales (low half) and minima (high half) 4..8, whose upper 2 bits are the upper
/// 2 bits of bytes 0..4 (scales) and 4..8 (minima).
#[repr(transparent)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct SixBit([u8; 12]);

impl SixBit {
    /// The scale and the minimum of sub-block `i`, below 64 each.
    pub(super) fn get(&self, i: usize) -> (u8, u8) {
        let b = &self.0;
        if i < 4 {
            (b[i] & 63, b[i + 4] & 63)
        } else {
            ((b[i + 4] & 0xF) | ((b[i - 4] >> 6) << 4), (b[i + 4] >> 4) | ((b[i] >> 6) << 4))
        }
    }

    fn from_pairs(pairs: &[(u8, u8); 8]) -> SixBit {
        let mut b = [0; 12];
        for (i, &(scale, min)) in pairs.iter().enumerate() {
            if i < 4 {
                b[i] |= scale;
                b[i + 4] |= min;
            } else {
                b[i + 4] = (scale & 0xF) | ((min & 0xF) << 4);
                b[i - 4] |= (scale >> 4) << 6;
                b[i] |= (min >> 4) << 6;
            }
        }
        SixBit(b)
    }

    /// The eight pairs as device words: bytes scale, min, scale, min.
    pub(super) fn device_words(&self) -> [u32; 4] {
        std::array::from_fn(|i| {
            let ((s0, m0), (s1, m1)) = (self.get(2 * i), self.get(2 * i + 1));
            u32::from_le_bytes([s0, m0, s1, m1])
        })
    }
}

/// A super-block of 256 weights, quantized to `d * scale * q - dmin * min` with `q` in `0..=top`.
pub(super) struct Fitted {
    pub(super) d: [u8; 2],
    pub(super) dmin: [u8; 2],
    pub(super) scales: SixBit,
    pub(super) quads: [quads::Quads; 8],
}

/// Quantizes 256 weights in eight sub-blocks of 32.
pub(super) fn quantize(weights: &[f32], top: u8) -> Fitted {
    let fits: [(f32, f32); 8] = std::array::from_fn(|i| fit::affine(&weights[32 * i..32 * (i + 1)], top));
    let largest = fits.iter().fold((0.0f32, 0.0f32), |(s, m), f| (s.max(f.0), m.max(f.1)));
    let (d_bytes, d) = quads::to_half(largest.0 / 63.0);
    let (dmin_bytes, dmin) = quads::to_half(largest.1 / 63.0);
    let (id, idmin) = (quads::reciprocal(d), quads::reciprocal(dmin));
    let pairs = fits.map(|(scale, min)| {
        (fit::nearest(scale * id, 0.0, 63.0) as u8, fit::nearest(min * idmin, 0.0, 63.0) as u8)
    });
    let quads = std::array::from_fn(|i| {
        let inverse = quads::reciprocal(d * f32::from(pairs[i].0));
        let min = dmin * f32::from(pairs[i].1);
        quads::from_values(|j| fit::nearest((weights[32 * i + j] + min) * inverse, 0.0, f32::from(top)) as u8)
    });
    Fitted { d: d_bytes, dmin: dmin_bytes, scales: SixBit::from_pairs(&pairs), quads }
}
