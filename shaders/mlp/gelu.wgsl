// mlp/gelu: the activation gelu(g) = g (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (g + 0.044715 g^3) (arXiv
// 1606.08415, the approximation by tanh), for the `gate` slot. As (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)), it needs
// no tanh, whose precision WGSL does not bound.
//
//# provides gate

const SLOPE: f32 = 1.5957691216057308;   // 2 sqrt(2 / pi)
const CUBE: f32 = 0.044715;

// 1 / (1 + exp(-2 u)), where exp does not overflow.
fn gelu_share(gate: vec4f) -> vec4f {
    return 1.0 / (1.0 + exp(min(-SLOPE * gate * (1.0 + CUBE * gate * gate), vec4f(80.0))));
}

fn activated(gate: vec4f) -> vec4f {
    return gate * gelu_share(gate);
}

// Derivative: p (1 + g (1 - p) 2 u'), with p the share.
fn activated_slope(gate: vec4f) -> vec4f {
    let p = gelu_share(gate);
    return p * (1.0 + gate * (1.0 - p) * SLOPE * (1.0 + 3.0 * CUBE * gate * gate));
}
