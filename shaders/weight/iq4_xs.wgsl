// weight/iq4_xs: reads 4-bit weights that choose one of 16 levels, with two-level scales: weight = d * scale * level.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 3 words for 8 blocks: f16 d, then a signed byte for each block (2 words)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

// Each level plus 128 in one byte, in the order of weight/iq4_nl: 0 to 3, 4 to 7, 8 to 11, 12 to 15.
const LEVELS: vec4u = vec4u(0x3F2D1801u, 0x766A5D4Fu, 0xA6998D81u, 0xF1D9C5B5u);

struct WeightBlock {
    q: vec4u,
    scale: f32,
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 3u;
    let scales = unpack4xI8(scales_at(first + 1u + ((block >> 2u) & 1u)));
    return WeightBlock(quants_at(block), unpack2x16float(scales_at(first)).x * f32(scales[block & 3u]));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let q = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    let second = unpack4xU8((q >> 2u) & 0x01010101u) != vec4u(0u);
    let upper = unpack4xU8((q >> 3u) & 0x01010101u) != vec4u(0u);
    let low = select(vec4u(LEVELS.x), vec4u(LEVELS.y), second);
    let high = select(vec4u(LEVELS.z), vec4u(LEVELS.w), second);
    let place = unpack4xU8((q & 0x03030303u) << 3u);
    return vec4f((select(low, high, upper) >> place) & vec4u(0xFFu)) - 128.0;
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(w.scale, 0.0);
}
