// norm/head_norm: RMS norm of every head of q or k, in place (Qwen3's q_norm and k_norm).
//
// Shapes    x (rows, x_stride) with heads of head_dim from `offset` on; weight (head_dim)
// Types     f32
// Grid      rows * heads workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Error     as norm/rms_norm with width = head_dim
//
//# use lib/index
//# use norm/inverse_root
//# slot reduce

struct Params {
    rows: u32,
    heads: u32,
    head_dim: u32,
    x_stride: u32,
    offset: u32,
    eps: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;     // (head_dim)
@group(0) @binding(2) var<storage, read_write> x: array<f32>;    // (rows, x_stride)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = folded(workgroup, grid);
    // In place: a workgroup beyond the last head must write nothing.
    let inside = index < params.rows * params.heads;
    let head = min(index, params.rows * params.heads - 1u);
    let first = (head / params.heads) * params.x_stride + params.offset + (head % params.heads) * params.head_dim;
    var sum = 0.0;
    for (var i = local; i < params.head_dim; i += WG) {
        sum += x[first + i] * x[first + i];
    }
    let scale = inverse_root(group_sum(sum, local) / f32(params.head_dim) + params.eps);
    if inside {
        for (var i = local; i < params.head_dim; i += WG) {
            x[first + i] = x[first + i] * scale * weight[i];
        }
    }
}
