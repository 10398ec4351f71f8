// weight/q5_0: reads 5-bit weights with one scale: weight = d * q - 16 d.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 3 words for two blocks: both f16 d, then the fifth bits of each (bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact: d * q, 16 d and their difference fit in an f32
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    high: u32, // fifth bits
    d: f32,
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 1u) * 3u;
    let odd = block & 1u;
    let d = unpack2x16float(scales_at(first));
    return WeightBlock(quants_at(block), scales_at(first + 1u + odd), select(d.x, d.y, odd != 0u));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let low = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    return vec4f(unpack4xU8(low | (((w.high >> j) & 0x01010101u) << 4u)));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.d, -16.0 * w.d);
}
