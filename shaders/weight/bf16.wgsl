// weight/bf16: reads unquantized bfloat16 weights.
//
// Layout    w_quants: 4 vec4 a block, two elements a word, the even one low; w_scales: unused
// Requires  quants_at, from the `weight_words` slot
// Error     exact
//
//# provides weight

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q0: vec4u, // elements 0..8
    q1: vec4u, // elements 8..16
    q2: vec4u, // elements 16..24
    q3: vec4u, // elements 24..32
}

fn weight_open(block: u32) -> WeightBlock {
    let first = block * 4u;
    return WeightBlock(quants_at(first), quants_at(first + 1u), quants_at(first + 2u), quants_at(first + 3u));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    // With j a literal the compiler folds the selects away; an array here would go to memory.
    let low = select(w.q0, w.q1, (j & 2u) != 0u);
    let high = select(w.q2, w.q3, (j & 2u) != 0u);
    let q = select(low, high, (j & 4u) != 0u);
    let pair = select(q.xy, q.zw, (j & 1u) != 0u);
    // A bfloat16 is the upper half of an f32.
    let bits = vec4u(pair.x << 16u, pair.x & 0xFFFF0000u, pair.y << 16u, pair.y & 0xFFFF0000u);
    return bitcast<vec4f>(bits);
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return vec2f(1.0, 0.0);
}
