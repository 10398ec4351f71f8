// weight/q4_0: reads 4-bit weights with one scale: weight = d * q - 8 d.
//
// Layout    w_quants: 1 vec4 a block (nibble quads); w_scales: f16 d, two blocks a word
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact: d * q, 8 d and their difference fit in an f32
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    d: f32,
}

fn weight_open(block: u32) -> WeightBlock {
    let d = unpack2x16float(scales_at(block >> 1u));
    return WeightBlock(quants_at(block), select(d.x, d.y, (block & 1u) != 0u));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    return vec4f(unpack4xU8((w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.d, -8.0 * w.d);
}
