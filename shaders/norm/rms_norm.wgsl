// norm/rms_norm: y = or += x / sqrt(mean(x^2) + eps) * weight, one row per workgroup (arXiv 1910.07467).
//
// Shapes    x (rows, x_stride vec4), weight (quads vec4), y (rows, y_stride vec4)
// Types     f32
// Grid      rows workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Requires  x and weight zero beyond width, up to 4 quads elements; ADD: y += instead of =
// Error     |y - reference| <= (width / WG + log2(WG) + 4) 2^-24 |y|
// Faults    a row is NaN if it holds NaN or its sum of squares overflows f32
// Gradient  norm/rms_norm_backward
//
//# use lib/index
//# use norm/inverse_root
//# slot reduce

struct Params {
    rows: u32,
    quads: u32,
    x_stride: u32,
    y_stride: u32,
    width: f32,
    eps: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;        // (rows, x_stride)
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;   // (quads)
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;  // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = folded(workgroup, grid);
    // A workgroup beyond the last row only takes part in the barriers.
    let inside = index < params.rows;
    let row = min(index, params.rows - 1u);
    var sum = 0.0;
    for (var i = local; i < params.quads; i += WG) {
        let value = x[row * params.x_stride + i];
        sum += dot(value, value);
    }
    let scale = inverse_root(group_sum(sum, local) / params.width + params.eps);
    for (var i = local; i < params.quads; i += WG) {
        var value = x[row * params.x_stride + i] * scale * weight[i];
        if ADD != 0u {
            value += y[row * params.y_stride + i];
        }
        if inside {
            y[row * params.y_stride + i] = value;
        }
    }
}
