// optim/adamw: one step of Adam with decoupled weight decay (arXiv 1711.05101, algorithm 2), in the order
// of operations of PyTorch's AdamW:
//   p *= 1 - lr decay;  g = grad scale;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;
//   p -= lr / correction1 * m / (sqrt(v) / sqrt(correction2) + eps)
//
// Shapes    parameters: `len` values from vec4 parameters_at on; grads, m and v: as many from vec4
//           state_at on
// Types     f32; the host forms the coefficients in f64
// Grid      one lane per vec4, folded
// Error     2^-21 of the step that p takes, and one rounding each of p, m and v
//
//# use lib/index

struct Params {
    len: u32,
    parameters_at: u32,
    state_at: u32,
    grad_scale: f32,
    decay: f32,
    m_weight: f32,
    v_keep: f32,
    v_weight: f32,
    step_size: f32,
    root_correction: f32,
    eps: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> parameters: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4f>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let quad = folded(workgroup, grid) * WG + local;
    if 4u * quad >= params.len {
        return;
    }
    // Values after the run in its last vec4 must not change.
    let places = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
    let counts = places < vec4<u32>(params.len);
    let p_at = params.parameters_at + quad;
    let at = params.state_at + quad;
    let p_old = parameters[p_at];
    let m_old = m[at];
    let v_old = v[at];
    let grad = grads[at] * params.grad_scale;
    let m_new = m_old + params.m_weight * (grad - m_old);
    let v_new = params.v_keep * v_old + params.v_weight * grad * grad;
    let denominator = sqrt(v_new) / params.root_correction + params.eps;
    let p_new = p_old * params.decay - params.step_size * m_new / denominator;
    m[at] = select(m_old, m_new, counts);
    v[at] = select(v_old, v_new, counts);
    parameters[p_at] = select(p_old, p_new, counts);
}
