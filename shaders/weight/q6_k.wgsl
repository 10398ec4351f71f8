// weight/q6_k: reads 6-bit weights with two-level scales: weight = d * scale * q - 32 d * scale.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 21 words for 8 blocks: f16 d, then a signed byte for each 16 weights (4
//           words), then the upper 2 bits of each block (16 words, 2-bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact: every term and the difference fit in an f32
//
//# provides weight

const WEIGHT_GROUP: u32 = 16u;

struct WeightBlock {
    q: vec4u,
    high: vec2u, // upper 2 bits
    scale: vec2f, // of group 0 and of group 1
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 21u;
    let high = first + 5u + (block & 7u) * 2u;
    let scales = unpack4xI8(scales_at(first + 1u + ((block >> 1u) & 3u)));
    return WeightBlock(
        quants_at(block),
        vec2u(scales_at(high), scales_at(high + 1u)),
        unpack2x16float(scales_at(first)).x * vec2f(select(scales.xy, scales.zw, (block & 1u) != 0u)),
    );
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let low = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    let high = (w.high[j >> 2u] >> ((j & 3u) * 2u)) & 0x03030303u;
    return vec4f(unpack4xU8(low | (high << 4u)));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    let scale = w.scale[group & 1u];
    return vec2f(scale, -32.0 * scale);
}
