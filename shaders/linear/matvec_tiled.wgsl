// linear/matvec_tiled: y = x W^T (+ bias) (+ y) for MT rows of x at most: GROUP_LANES lanes share one
// output, each taking every GROUP_LANES-th block of 32, so that neighbours read neighbouring weights.
//
// Shapes    x (rows, x_stride vec4); W (cols, 32 blocks) by the `weight` slot; y (rows, y_stride)
// Types     x, y, sums f32
// Grid      (ceil(cols GROUP_LANES / WG), ceil(rows / MT)) workgroups of WG lanes
// Memory    in the `reduce` slot
// Requires  x zero beyond its width up to 32 blocks
// Error     |y - reference| <= (32 blocks / GROUP_LANES + log2(GROUP_LANES)) 2^-24 sum |w x|
// Gradient  d_x from linear/matmul_transposed_tiled; W is frozen
//
//# use linear/product
//# slot weight_words
//# slot weight
//# slot reduce

struct Params {
    rows: u32,
    cols: u32,
    blocks: u32,
    x_stride: u32,
    y_stride: u32,
    y_offset: u32,
    bias_offset: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> x: array<vec4f>;            // (rows, x_stride)
@group(0) @binding(4) var<storage, read> bias: array<f32>;           // (cols), read if HAS_BIAS
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let col = tile.x * (WG / GROUP_LANES) + local / GROUP_LANES;
    let row0 = tile.y * MT;
    let block0 = min(col, params.cols - 1u) * params.blocks;
    var acc: array<f32, MT>;
    for (var b = local % GROUP_LANES; b < params.blocks; b += GROUP_LANES) {
        let w = weight_open(block0 + b);
        for (var j = 0u; j < 8u; j++) {
            let scale = weight_scale(w, 4u * j / WEIGHT_GROUP);
            let quad = scale.x * weight_quad(w, j) + scale.y;
            for (var m = 0u; m < MT; m++) {
                acc[m] += dot(quad, x[min(row0 + m, params.rows - 1u) * params.x_stride + 8u * b + j]);
            }
        }
    }
    for (var m = 0u; m < MT; m++) {
        let sum = group_sum(acc[m], local);
        if local % GROUP_LANES == 0u {
            store(row0 + m, col, sum);
        }
    }
}
