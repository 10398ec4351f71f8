// weight/q3_k: reads 3-bit weights with two-level scales: weight = d * scale * q - 4 d * scale.
//
// Layout    w_quants: half a vec4 a block (2-bit quads, the low bits)
//           w_scales: 13 words for 8 blocks: f16 d, then a signed byte for each 16 weights (4
//           words), then the third bits of each block (8 words, bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact: every term and the difference fit in an f32
//
//# provides weight

const WEIGHT_GROUP: u32 = 16u;

struct WeightBlock {
    q: vec2u,
    high: u32, // third bits
    scale: vec2f, // of group 0 and of group 1
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 13u;
    let both = quants_at(block >> 1u);
    let scales = unpack4xI8(scales_at(first + 1u + ((block >> 1u) & 3u)));
    return WeightBlock(
        select(both.xy, both.zw, (block & 1u) != 0u),
        scales_at(first + 5u + (block & 7u)),
        unpack2x16float(scales_at(first)).x * vec2f(select(scales.xy, scales.zw, (block & 1u) != 0u)),
    );
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let low = (w.q[j >> 2u] >> ((j & 3u) * 2u)) & 0x03030303u;
    return vec4f(unpack4xU8(low | (((w.high >> j) & 0x01010101u) << 2u)));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    let scale = w.scale[group & 1u];
    return vec2f(scale, -4.0 * scale);
}
