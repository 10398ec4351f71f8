// norm/inverse_root: the factor of an RMS norm.

// 1 / sqrt(mean); NaN if the sum of squares overflowed, where 0 would make a sound-looking row of zeros.
fn inverse_root(mean: f32) -> f32 {
    let bits = bitcast<u32>(inverseSqrt(mean));
    return bitcast<f32>(select(bits, 0x7fc00000u, bitcast<u32>(mean) == 0x7f800000u));
}
