// weight/q8_0: reads signed 8-bit weights with one scale: weight = d * q.
//
// Layout    w_quants: 2 vec4 a block, signed bytes in order; w_scales: f16 d, two blocks a word
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q0: vec4u, // elements 0..16
    q1: vec4u, // elements 16..32
    d: f32,
}

fn weight_open(block: u32) -> WeightBlock {
    let first = block * 2u;
    let d = unpack2x16float(scales_at(block >> 1u));
    return WeightBlock(quants_at(first), quants_at(first + 1u), select(d.x, d.y, (block & 1u) != 0u));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let q = select(w.q0, w.q1, (j & 4u) != 0u);
    return vec4f(unpack4xI8(q[j & 3u]));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.d, 0.0);
}
