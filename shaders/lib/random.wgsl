// lib/random: the counter-based generator, Philox4x32-10 (Salmon et al., SC 2011).
//
// The same function as `src/random.rs`, bit for bit: a draw is named by its counter (index, step,
// purpose, draw) under the run's seed, so it does not depend on the batch or on the device.

const PURPOSE_SAMPLE: u32 = 1u;

// High and low word of the 64-bit product; WGSL has no widening multiply.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    // At most (2^16 - 1) + (2^16 - 1)^2, so it does not overflow.
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u), a * b);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let p0 = multiply_wide(0xD2511F53u, c.x);
        let p1 = multiply_wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(p1.x ^ c.y ^ k.x, p1.y, p0.x ^ c.w ^ k.y, p0.y);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// A uniform value strictly inside (0, 1): one of 2^23 bin centres, exact in f32.
fn uniform01(bits: u32) -> f32 {
    return f32(bits >> 9u) * 0x1p-23 + 0x1p-24;
}

// A standard Gumbel value, -ln(-ln(1 - v)) with v the bits as a fraction in (0, 1).
//
// Small v is the upper tail, which decides the result, and there ln(1 - v) from a rounded 1 - v
// would lose all precision: below 1/64 the series -ln(1 - v) = v + v^2/2 + v^3/3 + v^4/4 is used,
// wrong by less than 2^-32 relative.
fn gumbel(bits: u32) -> f32 {
    let v = min(f32(bits) * 0x1p-32 + 0x1p-33, 1.0 - 0x1p-24);
    let series = v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
    let exponential = select(-log(1.0 - v), series, v < 0.015625);
    return -log(exponential);
}
