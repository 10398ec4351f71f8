// norm/head_norm_backward: the gradient of norm/head_norm, in place: d of the normed heads becomes d
// of the heads before the norm.
//
// Shapes    x (rows, x_stride), the heads before the norm, and d (rows, d_stride), each with heads of
//           head_dim from `offset` on; weight (head_dim)
// Types     f32
// Grid      rows * heads workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Error     as norm/rms_norm_backward with width = head_dim
//
//# use lib/index
//# slot reduce

struct Params {
    rows: u32,
    heads: u32,
    head_dim: u32,
    x_stride: u32,
    d_stride: u32,
    offset: u32,
    eps: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;          // (rows, x_stride)
@group(0) @binding(2) var<storage, read> weight: array<f32>;     // (head_dim)
@group(0) @binding(3) var<storage, read_write> d: array<f32>;    // (rows, d_stride)

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
    let column = params.offset + (head % params.heads) * params.head_dim;
    let x_first = (head / params.heads) * params.x_stride + column;
    let d_first = (head / params.heads) * params.d_stride + column;
    var squares = 0.0;
    var product = 0.0;
    for (var i = local; i < params.head_dim; i += WG) {
        let value = x[x_first + i];
        squares += value * value;
        product += value * weight[i] * d[d_first + i];
    }
    let scale = inverseSqrt(group_sum(squares, local) / f32(params.head_dim) + params.eps);
    let along = group_sum(product, local) / f32(params.head_dim) * scale * scale;
    if inside {
        for (var i = local; i < params.head_dim; i += WG) {
            d[d_first + i] = scale * (weight[i] * d[d_first + i] - x[x_first + i] * along);
        }
    }
}
