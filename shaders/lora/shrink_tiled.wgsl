// lora/shrink_tiled: h = s x F^T, MT rows of x by 16 rows of F per workgroup (arXiv 2310.18547).
//
// 16 lanes share four outputs, each taking every 16th column, so that neighbours read neighbouring
// elements; their sums meet in workgroup memory. Which columns a lane takes and the order of the sums
// do not depend on MT: a row's result is the same alone and in any batch, bit for bit.
//
// Shapes    tiles (n) of at most MT rows; factors (adapters, adapter_stride vec4); x (rows,
//           wide_stride); h (rows, h_stride vec4): part p in columns p rank..(p + 1) rank
// Types     f32; s is the tile's scale or 1
// Grid      (n tiles, sum over parts of ceil(rank / 16)) workgroups of 64 lanes
// Memory    1 KiB MT of workgroup memory
// Requires  neither subgroups nor f16
// Error     |h - reference| <= (cols / 16 + 16) 2^-24 s sum |x F|
// Gradient  dx from lora/expand, dF from lora/grad_weight
//
//# use lora/site

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> h: array<f32>;

const LANES: u32 = 16u;     // over the columns
const OWN: u32 = 4u;        // outputs of a lane
const OUTPUTS: u32 = 16u;   // of the workgroup

var<workgroup> sums: array<f32, 64u * OWN * MT>;   // (row, own output, lane)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = tiles[workgroup.x];
    let part = part_of(workgroup.y);
    let first = part.group * OUTPUTS;
    let factor = 4u * (tile.adapter * params.adapter_stride + part.factor);
    var f_at: array<u32, OWN>;
    for (var t = 0u; t < OWN; t++) {
        let output = min(first + local / LANES * OWN + t, params.rank - 1u);
        f_at[t] = factor + output * 4u * params.factor_stride;
    }
    var x_at: array<u32, MT>;
    for (var m = 0u; m < MT; m++) {
        x_at[m] = (tile.first_row + min(m, tile.rows - 1u)) * params.wide_stride + part.col;
    }
    var acc: array<f32, OWN * MT>;
    for (var col = local % LANES; col < part.cols; col += LANES) {
        var f: array<f32, OWN>;
        for (var t = 0u; t < OWN; t++) {
            f[t] = factors[f_at[t] + col];
        }
        for (var m = 0u; m < MT; m++) {
            let xe = x[x_at[m] + col];
            for (var t = 0u; t < OWN; t++) {
                acc[m * OWN + t] += xe * f[t];
            }
        }
    }
    for (var i = 0u; i < OWN * MT; i++) {
        sums[64u * i + local] = acc[i];
    }
    workgroupBarrier();
    let scale = select(1.0, tile.scale, params.scaled != 0u);
    for (var i = local; i < OUTPUTS * MT; i += 64u) {
        let m = i / OUTPUTS;
        let output = i % OUTPUTS;
        if m < tile.rows && first + output < params.rank {
            let at = 64u * (m * OWN + output % OWN) + output / OWN * LANES;
            var sum = 0.0;
            for (var lane = 0u; lane < LANES; lane++) {
                sum += sums[at + lane];
            }
            let row = tile.first_row + m;
            h[row * 4u * params.h_stride + part.index * params.rank + first + output] = scale * sum;
        }
    }
}
