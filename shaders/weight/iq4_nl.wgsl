// weight/iq4_nl: reads 4-bit weights that choose one of 16 levels, with one scale: weight = d * level.
//
// Layout    w_quants: 1 vec4 a block (nibble quads); w_scales: f16 d, two blocks a word
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

// The levels -127 -104 -83 -65, -49 -35 -22 -10, 1 13 25 38, 53 69 89 113, each plus 128 in one byte.
const LEVELS_0: u32 = 0x3F2D1801u;
const LEVELS_4: u32 = 0x766A5D4Fu;
const LEVELS_8: u32 = 0xA6998D81u;
const LEVELS_12: u32 = 0xF1D9C5B5u;

struct WeightBlock {
    q: vec4u,
    d: f32,
}

fn weight_open(block: u32) -> WeightBlock {
    let d = unpack2x16float(scales_at(block >> 1u));
    return WeightBlock(quants_at(block), select(d.x, d.y, (block & 1u) != 0u));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let q = unpack4xU8((w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu);
    let odd = (q & vec4u(4u)) != vec4u(0u);
    let low = select(vec4u(LEVELS_0), vec4u(LEVELS_4), odd);
    let high = select(vec4u(LEVELS_8), vec4u(LEVELS_12), odd);
    let levels = select(low, high, (q & vec4u(8u)) != vec4u(0u));
    let level = (levels >> (8u * (q & vec4u(3u)))) & vec4u(0xFFu);
    return vec4f(level) - 128.0;
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.d, 0.0);
}
