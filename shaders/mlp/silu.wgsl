// mlp/silu: the activation silu(g) = g p with p = 1 / (1 + exp(-g)), for the `gate` slot.
//
//# provides gate

fn activated(gate: vec4f) -> vec4f {
    return gate / (1.0 + exp(-gate));
}

// Derivative: p (1 + g (1 - p)).
fn activated_slope(gate: vec4f) -> vec4f {
    let p = 1.0 / (1.0 + exp(-gate));
    return p * (1.0 + gate * (1.0 - p));
}
