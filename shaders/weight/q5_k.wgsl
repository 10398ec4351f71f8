// weight/q5_k: reads 5-bit weights with two-level scales: weight = d * scale * q - dmin * min.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 13 words for 8 blocks: f16 d low and f16 dmin high, then bytes scale, min of
//           each block (4 words), then the fifth bits of each (8 words, bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     the products are exact; the difference is rounded once
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    high: u32, // fifth bits
    scale: vec2f, // d * scale, -dmin * min
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 13u;
    let d = unpack2x16float(scales_at(first));
    let both = scales_at(first + 1u + ((block >> 1u) & 3u)) >> ((block & 1u) * 16u);
    let scale = vec2f(f32(both & 0xFFu), -f32((both >> 8u) & 0xFFu));
    return WeightBlock(quants_at(block), scales_at(first + 5u + (block & 7u)), d * scale);
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let low = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    return vec4f(unpack4xU8(low | (((w.high >> j) & 0x01010101u) << 4u)));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return w.scale;
}
