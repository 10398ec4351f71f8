// head/scalar_head: values[first + i] = hidden[i] . weight + bias of the head that row i names.
//
// Shapes    hidden (rows, x_stride vec4) of which `quads` vec4 count; heads (n_heads, head_stride vec4):
//           the weights, zeros, and the bias as the first value of vec4 `bias_at`; head_of and values
//           (first + rows), of which row i uses first + i; a head of n_heads or more gives 0
// Types     f32
// Grid      rows workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Requires  hidden and weights zero beyond the width, up to 4 quads elements
// Error     |value - reference| <= (width / WG + log2(WG) + 2) 2^-24 (sum |hidden weight| + |bias|)
// Gradient  head/scalar_head_backward
//
//# use lib/index
//# slot reduce

struct Params {
    rows: u32,
    quads: u32,
    x_stride: u32,
    first: u32,
    n_heads: u32,
    head_stride: u32,
    bias_at: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hidden: array<vec4f>;       // (rows, x_stride)
@group(0) @binding(2) var<storage, read> heads: array<vec4f>;        // (n_heads, head_stride)
@group(0) @binding(3) var<storage, read> head_of: array<u32>;        // (first + rows)
@group(0) @binding(4) var<storage, read_write> values: array<f32>;   // (first + rows)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // A folded grid may overshoot: those workgroups redo the last row, so that barriers stay uniform.
    let row = min(folded(workgroup, grid), params.rows - 1u);
    let named = head_of[params.first + row];
    // A row without a head uses any head: its sum is dropped below.
    let head = min(named, params.n_heads - 1u) * params.head_stride;
    var products = vec4f(0.0);
    for (var i = local; i < params.quads; i += WG) {
        products += hidden[row * params.x_stride + i] * heads[head + i];
    }
    let sum = group_sum(products.x + products.y + (products.z + products.w), local);
    if local == 0u {
        values[params.first + row] = select(0.0, sum + heads[head + params.bias_at].x, named < params.n_heads);
    }
}
