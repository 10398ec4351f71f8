// norm/rms_norm_backward: d_x of y = x s weight with s = 1 / sqrt(mean(x^2) + eps), one row per
// workgroup: d_x = s (weight d_y - x s^2 mean(x weight d_y)).
//
// Shapes    x, d_y, d_x (rows, .._stride vec4), weight (ceil(width / 4) vec4 or more)
// Types     f32
// Grid      rows workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Requires  x, d_y and weight zero from width to the next multiple of 4; ADD: d_x += instead of =
// Error     |d_x - reference| <= (width / WG + log2(WG) + 8) 2^-24 s (|weight d_y| + |x| s)
//
//# use lib/index
//# slot reduce

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    d_y_stride: u32,
    d_x_stride: u32,
    eps: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;          // (rows, x_stride)
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;     // (quads)
@group(0) @binding(3) var<storage, read> d_y: array<vec4f>;        // (rows, d_y_stride)
@group(0) @binding(4) var<storage, read_write> d_x: array<vec4f>;  // (rows, d_x_stride)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = folded(workgroup, grid);
    // Sums must be added once: a workgroup beyond the last row only takes part in the barriers.
    let inside = index < params.rows;
    let row = min(index, params.rows - 1u);
    let quads = (params.width + 3u) / 4u;
    let x_first = row * params.x_stride;
    let d_y_first = row * params.d_y_stride;
    var squares = 0.0;
    var product = 0.0;
    for (var i = local; i < quads; i += WG) {
        let value = x[x_first + i];
        squares += dot(value, value);
        product += dot(value, weight[i] * d_y[d_y_first + i]);
    }
    let scale = inverseSqrt(group_sum(squares, local) / f32(params.width) + params.eps);
    let along = group_sum(product, local) / f32(params.width) * scale * scale;
    if inside {
        for (var i = local; i < quads; i += WG) {
            let slope = scale * (weight[i] * d_y[d_y_first + i] - x[x_first + i] * along);
            // A gradient that is not finite must not be written to the padding, which is never cleared.
            let counts = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.width);
            var value = select(vec4f(0.0), slope, counts);
            if ADD != 0u {
                value += d_x[row * params.d_x_stride + i];
            }
            d_x[row * params.d_x_stride + i] = value;
        }
    }
}
