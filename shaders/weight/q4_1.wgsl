// weight/q4_1: reads 4-bit weights with a scale and an offset: weight = d * q + m.
//
// Layout    w_quants: 1 vec4 a block (nibble quads); w_scales: 1 word a block, f16 d low, f16 m high
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     d * q is exact; the sum is rounded once
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    scale: vec2f, // d, m
}

fn weight_open(block: u32) -> WeightBlock {
    return WeightBlock(quants_at(block), unpack2x16float(scales_at(block)));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    return vec4f(unpack4xU8((w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return w.scale;
}
