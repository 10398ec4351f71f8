// lora/grad_weight_tiled: dF += s h^T x, 16 rows by 32 columns of F per workgroup.
//
// Eight lanes share a column, each taking every eighth row of the batch: a factor is small, and one
// lane per element would leave most of the device idle. Their sums meet in workgroup memory in a fixed
// order and are added once; no atomics.
//
// Shapes    h (rows, h_stride vec4): part p in columns p rank..(p + 1) rank; x (rows, wide_stride);
//           grads laid out as one adapter's factors
// Types     f32; s is params.scale
// Grid      (sum over parts of ceil(cols / 32), ceil(rank / 16)) workgroups of 256 lanes
// Memory    16 KiB of workgroup memory, all that a phone promises
// Requires  neither subgroups nor f16; rank a multiple of 4
// Error     |dF - reference| <= (rows / 8 + 10) 2^-24 (|dF| + s sum |h x|)
//
//# use lora/site

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> h: array<vec4f>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> grads: array<f32>;

const COLS: u32 = 32u;
const LANES: u32 = 8u;      // over the rows of the batch
const QUADS: u32 = 4u;      // of rows of F

var<workgroup> sums: array<vec4f, QUADS * LANES * COLS>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let part = part_of(workgroup.x);
    let first_quad = workgroup.y * QUADS;
    let h_quads = params.rank / 4u;
    let col = min(part.group * COLS + local % COLS, part.cols - 1u);
    var h_at: array<u32, QUADS>;
    for (var q = 0u; q < QUADS; q++) {
        h_at[q] = part.index * h_quads + min(first_quad + q, h_quads - 1u);
    }
    var acc: array<vec4f, QUADS>;
    for (var row = params.first_row + local / COLS; row < params.end_row; row += LANES) {
        let xe = x[row * params.wide_stride + part.col + col];
        for (var q = 0u; q < QUADS; q++) {
            acc[q] += h[row * params.h_stride + h_at[q]] * xe;
        }
    }
    for (var q = 0u; q < QUADS; q++) {
        sums[q * 256u + local] = acc[q];
    }
    workgroupBarrier();
    let quad = first_quad + local / COLS;
    if local < QUADS * COLS && quad < h_quads && part.group * COLS + local % COLS < part.cols {
        var sum = vec4f();
        for (var lane = 0u; lane < LANES; lane++) {
            sum += sums[local / COLS * 256u + lane * COLS + local % COLS];
        }
        for (var c = 0u; c < 4u; c++) {
            grads[4u * (part.factor + (4u * quad + c) * params.factor_stride) + col] += params.scale * sum[c];
        }
    }
}
