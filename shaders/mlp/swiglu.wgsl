// mlp/swiglu: y = silu(gate) * up, where silu(g) = g / (1 + exp(-g)) (arXiv 2002.05202).
//
// Shapes    gate_up (rows, x_stride): gate in columns 0..width, up in width..2 width; y (rows, y_stride)
// Types     f32
// Grid      one lane per element of y, (ceil(width / WG), rows)
// Error     |y - reference| <= 2^-20 |y|
// Gradient  mlp/swiglu_backward

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<f32>;    // (rows, x_stride)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;    // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let column = workgroup.x * WG + local;
    let row = workgroup.y;
    if column < params.width {
        let gate = gate_up[row * params.x_stride + column];
        let up = gate_up[row * params.x_stride + params.width + column];
        y[row * params.y_stride + column] = gate / (1.0 + exp(-gate)) * up;
    }
}
