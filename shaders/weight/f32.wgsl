// weight/f32: reads unquantized 32-bit weights.
//
// Layout    w_quants: 8 vec4 a block, element e in component e % 4 of vec4 e / 4; w_scales: unused
// Requires  quants_at, from the `weight_words` slot
// Error     exact
//
// A block is only its index: 32 open words would spill registers, and each quad is one aligned load.
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    first: u32, // index of the block's first vec4
}

fn weight_open(block: u32) -> WeightBlock {
    return WeightBlock(block * 8u);
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    return bitcast<vec4f>(quants_at(w.first + j));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(1.0, 0.0);
}
