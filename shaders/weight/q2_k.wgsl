// weight/q2_k: reads 2-bit weights with two-level scales: weight = d * scale * q - dmin * min.
//
// Layout    w_quants: half a vec4 a block (2-bit quads)
//           w_scales: 5 words for 8 blocks: f16 d low and f16 dmin high, then a byte for each 16
//           weights, scale in its low and min in its high nibble
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     the products are exact; the difference is rounded once
//
//# provides weight

const WEIGHT_GROUP: u32 = 16u;

struct WeightBlock {
    q: vec2u,
    d: vec2f, // d, -dmin
    scales: u32, // the byte of group 0 lowest, then that of group 1
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 5u;
    let both = quants_at(block >> 1u);
    return WeightBlock(
        select(both.xy, both.zw, (block & 1u) != 0u),
        unpack2x16float(scales_at(first)) * vec2f(1.0, -1.0),
        scales_at(first + 1u + ((block >> 1u) & 3u)) >> ((block & 1u) * 16u),
    );
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    return vec4f(unpack4xU8((w.q[j >> 2u] >> ((j & 3u) * 2u)) & 0x03030303u));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    let both = w.scales >> (group * 8u);
    return w.d * vec2f(f32(both & 0xFu), f32((both >> 4u) & 0xFu));
}
