// weight/q5_1: reads 5-bit weights with a scale and an offset: weight = d * q + m.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 2 words a block: f16 d low and f16 m high, then the fifth bits (bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     d * q is exact; the sum is rounded once
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    high: u32, // fifth bits
    scale: vec2f, // d, m
}

fn weight_open(block: u32) -> WeightBlock {
    let first = block * 2u;
    return WeightBlock(quants_at(block), scales_at(first + 1u), unpack2x16float(scales_at(first)));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let low = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    return vec4f(unpack4xU8(low | (((w.high >> j) & 0x01010101u) << 4u)));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return w.scale;
}
