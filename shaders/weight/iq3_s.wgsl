// weight/iq3_s: reads weights of a level (3 bits) and a sign, with two-level scales: weight = d * (2 s + 1) * ±(2 q + 1).
//
// Layout    w_quants: 1 vec4 a block (nibble quads: the level, and 8 for a minus sign)
//           w_scales: 2 words for 8 blocks: f16 d, then 4 bits of s for each block
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    scale: f32,
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 2u;
    let s = (scales_at(first + 1u) >> (4u * (block & 7u))) & 15u;
    return WeightBlock(quants_at(block), unpack2x16float(scales_at(first)).x * f32(2u * s + 1u));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let q = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    let level = vec4f(unpack4xU8(((q & 0x07070707u) << 1u) | 0x01010101u));
    return select(level, -level, unpack4xU8(q & 0x08080808u) != vec4u(0u));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.scale, 0.0);
}
