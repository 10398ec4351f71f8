// weight/iq2: reads weights of a level (2 bits) and a sign, with two-level scales: weight = d * (2 s + 1) / 8 * ±level.
// The levels are 8, 25 and 43. The formats IQ2_XXS, IQ2_XS and IQ2_S have this layout.
//
// Layout    w_quants: half a vec4 a block (2-bit quads, the levels)
//           w_scales: 11 words for 8 blocks: f16 d, then 4 bits of s for each 16 weights (2
//           words), then the signs of each block (8 words, bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact
//
//# provides weight

const WEIGHT_GROUP: u32 = 16u;

// The levels, one in each byte.
const LEVELS: u32 = 0x002B1908u;

struct WeightBlock {
    q: vec2u,
    signs: u32,
    scale: vec2f, // of group 0 and of group 1
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 11u;
    let both = quants_at(block >> 1u);
    let s = scales_at(first + 1u + ((block >> 2u) & 1u)) >> (8u * (block & 3u));
    return WeightBlock(
        select(both.xy, both.zw, (block & 1u) != 0u),
        scales_at(first + 3u + (block & 7u)),
        unpack2x16float(scales_at(first)).x * (0.25 * vec2f(f32(s & 15u), f32((s >> 4u) & 15u)) + 0.125),
    );
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let index = unpack4xU8((w.q[j >> 2u] >> ((j & 3u) * 2u)) & 0x03030303u);
    let level = vec4f((vec4u(LEVELS) >> (8u * index)) & vec4u(0xFFu));
    return select(level, -level, unpack4xU8((w.signs >> j) & 0x01010101u) != vec4u(0u));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.scale[group & 1u], 0.0);
}
