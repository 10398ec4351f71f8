// linear/matmul_tiled: y = x W^T (+ bias) (+ y), a tile of 64 rows by 64 outputs per workgroup.
//
// 128 lanes bring in x and 128 lanes decode W, 32 elements deep, transposed so that both operands of
// a lane's 4 by 4 outer product are one vec4 each.
//
// Shapes    x (rows, x_stride vec4); W (cols, 32 blocks) by the `weight` slot; y (rows, y_stride)
// Types     x, y, sums f32
// Grid      (ceil(cols / 64), ceil(rows / 64)) workgroups of 256 lanes
// Memory    16 KiB of workgroup memory, all that a phone promises
// Requires  neither subgroups nor f16; x zero beyond its width up to 32 blocks
// Error     |y - reference| <= (32 blocks) 2^-24 sum |w x|
// Gradient  d_x from linear/matmul_transposed_tiled; W is frozen
//
//# use linear/product
//# slot weight_words
//# slot weight

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

var<workgroup> x_tile: array<vec4f, 512>;   // (32 deep, 64 rows)
var<workgroup> w_tile: array<vec4f, 512>;   // (32 deep, 64 outputs)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row0 = tile.y * 64u;
    let col0 = tile.x * 64u;
    let in_x = local < 128u;
    let four = (local % 128u) % 16u;      // which four rows or outputs this lane brings in
    let quad = (local % 128u) / 16u;      // and which four elements of the depth
    let tx = local % 16u;
    let ty = local / 16u;
    var acc: array<vec4f, 4>;
    for (var b = 0u; b < params.blocks; b++) {
        var rows: mat4x4f;
        if in_x {
            for (var i = 0u; i < 4u; i++) {
                let row = min(row0 + 4u * four + i, params.rows - 1u);
                rows[i] = x[row * params.x_stride + 8u * b + quad];
            }
        } else {
            for (var i = 0u; i < 4u; i++) {
                let col = min(col0 + 4u * four + i, params.cols - 1u);
                let w = weight_open(col * params.blocks + b);
                let scale = weight_scale(w, 4u * quad / WEIGHT_GROUP);
                rows[i] = scale.x * weight_quad(w, quad) + scale.y;
            }
        }
        let columns = transpose(rows);
        workgroupBarrier();
        for (var c = 0u; c < 4u; c++) {
            let at = (4u * quad + c) * 16u + four;
            if in_x {
                x_tile[at] = columns[c];
            } else {
                w_tile[at] = columns[c];
            }
        }
        workgroupBarrier();
        // A separate sum for every block, so that long rows keep their last digits.
        var part: array<vec4f, 4>;
        for (var k = 0u; k < 32u; k++) {
            let xv = x_tile[k * 16u + ty];
            let wv = w_tile[k * 16u + tx];
            part[0] += xv.x * wv;
            part[1] += xv.y * wv;
            part[2] += xv.z * wv;
            part[3] += xv.w * wv;
        }
        for (var i = 0u; i < 4u; i++) {
            acc[i] += part[i];
        }
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            store(row0 + 4u * ty + i, col0 + 4u * tx + j, acc[i][j]);
        }
    }
}
