//! Small integers in words: four neighbours to a word, one in each byte.
//!
//! [`Quads`] is the common currency between the file layouts, the device layout and f32: every
//! format unpacks its bits into [`Quads`] and packs them from [`Quads`], 4 weights at a time.

use half::f16;

use super::Packed;

/// 32 unsigned integers; integer `4j + k` is byte `k` of word `j`.
pub(super) type Quads = [u32; 8];

/// The little-endian words at the start of `bytes`.
pub(super) fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    bytemuck::pod_read_unaligned::<[[u8; 4]; N]>(&bytes[..4 * N]).map(u32::from_le_bytes)
}

/// The 32 integers, in order.
pub(super) fn values(quads: &Quads) -> [u8; 32] {
    std::array::from_fn(|i| quads[i / 4].to_le_bytes()[i % 4])
}

/// 32 integers, each made by `value(index)`.
pub(super) fn from_values(mut value: impl FnMut(usize) -> u8) -> Quads {
    let bytes: [u8; 32] = std::array::from_fn(&mut value);
    words(&bytes)
}

/// The integers of ggml's 16 bytes of nibbles: low nibbles first, then high nibbles.
pub(super) fn from_nibbles(bytes: &[u8; 16]) -> Quads {
    let words: [u32; 4] = words(bytes);
    std::array::from_fn(|j| (words[j & 3] >> (j & 4)) & 0x0F0F_0F0F)
}

/// The integers' low 4 bits as device words; their bytes are ggml's 16 bytes of nibbles.
pub(super) fn nibbles(quads: &Quads) -> [u32; 4] {
    std::array::from_fn(|i| (quads[i] & 0x0F0F_0F0F) | ((quads[i + 4] & 0x0F0F_0F0F) << 4))
}

/// ggml's 16 bytes of nibbles of the integers' low 4 bits.
pub(super) fn nibble_bytes(quads: &Quads) -> [u8; 16] {
    let words = nibbles(quads);
    std::array::from_fn(|i| words[i / 4].to_le_bytes()[i % 4])
}

/// Bits `shift` and `shift + 1` of the integers as device words.
pub(super) fn pairs(quads: &Quads, shift: u32) -> [u32; 2] {
    std::array::from_fn(|half| {
        (0..4).fold(0, |word, j| word | (((quads[4 * half + j] >> shift) & 0x0303_0303) << (2 * j)))
    })
}

/// Bit `shift` of the integers as a device word.
pub(super) fn bits(quads: &Quads, shift: u32) -> u32 {
    (0..8).fold(0, |word, j| word | (((quads[j] >> shift) & 0x0101_0101) << j))
}

/// ORs bit `i` of `mask` into bit `shift` of integer `i`.
pub(super) fn or_mask(quads: &mut Quads, mask: u32, shift: u32) {
    for (j, quad) in quads.iter_mut().enumerate() {
        // The product puts bit k of the nibble at bit 8k; the mask drops its other copies.
        let spread = (((mask >> (4 * j)) & 0xF) * 0x0020_4081) & 0x0101_0101;
        *quad |= spread << shift;
    }
}

/// Bit `shift` of integer `i` at bit `i`: the reverse of [`or_mask`].
pub(super) fn mask(quads: &Quads, shift: u32) -> u32 {
    let values = values(quads);
    (0..32).fold(0, |mask, i| mask | (u32::from((values[i] >> shift) & 1) << i))
}

/// A two-byte float of a block as f32.
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

/// `value` as a block's two-byte float, and as the f32 that decoding will see.
pub(super) fn to_half(value: f32) -> ([u8; 2], f32) {
    let half = f16::from_f32(value);
    (half.to_le_bytes(), half.to_f32())
}

/// Two 16-bit halves as one word, the first one low.
pub(super) fn pair_of_halves(low: [u8; 2], high: [u8; 2]) -> u32 {
    u32::from(u16::from_le_bytes(low)) | (u32::from(u16::from_le_bytes(high)) << 16)
}

/// `value` truncated to an integer in `0..=top`; NaN becomes 0.
///
/// ggml's reference quantizers round this way, with the one half already added.
pub(super) fn truncate(value: f32, top: u8) -> u8 {
    (value as u8).min(top)
}

/// `1 / d`, or 0 for a block of zeros.
pub(super) fn reciprocal(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The element of largest magnitude, with its sign; 0 if there is none.
pub(super) fn extreme(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |best: f32, &w| if w.abs() > best.abs() { w } else { best })
}

/// The smallest and the largest element.
pub(super) fn range(weights: &[f32]) -> (f32, f32) {
    weights.iter().fold((f32::MAX, -f32::MAX), |(lo, hi), &w| (lo.min(w), hi.max(w)))
}

/// Appends the rows of an unquantized tensor as little-endian words, each row padded with zeros to
/// whole blocks of `BLOCK_WORDS`.
pub(super) fn pack_plain_rows<const BLOCK_WORDS: usize>(bytes: &[u8], row_bytes: usize, packed: &mut Packed) {
    if row_bytes == 0 {
        return;
    }
    for row in bytes.chunks_exact(row_bytes) {
        let (whole, rest) = row.split_at(row_bytes & !3);
        packed.quants.extend(whole.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])));
        if let [low, high] = rest {
            packed.quants.push(u32::from(u16::from_le_bytes([*low, *high])));
        }
        packed.quants.resize(packed.quants.len().next_multiple_of(BLOCK_WORDS), 0);
    }
}
