// lora/shrink_lane8: h = s x F^T, MT rows of x by 8 TN rows of F per workgroup (arXiv 2310.18547).
//
// Lane l owns outputs 8 TN group + 8 t + l. 32 columns of x sit four to a lane and reach the others by
// shuffle. The sum for one output runs over the columns in order, whatever MT and TN: a row's result
// is the same alone and in any batch, bit for bit.
//
// Shapes    tiles (n) of at most MT rows; factors (adapters, adapter_stride vec4); x (rows,
//           wide_stride); h (rows, h_stride vec4): part p in columns p rank..(p + 1) rank
// Types     f32; s is the tile's scale or 1
// Grid      (n tiles, sum over parts of ceil(rank / 8 TN)) workgroups of 8 lanes, one subgroup
// Memory    none shared
// Requires  subgroups of 8 lanes or more; F zero beyond a part's columns up to 32
// Error     |h - reference| <= cols 2^-24 s sum |x F|
// Gradient  dx from lora/expand, dF from lora/grad_weight
//
//# use lora/site
//# slot read

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;
@group(0) @binding(2) var<storage, read> factors: array<vec4f>;
@group(0) @binding(3) var<storage, read> x: array<Element>;
@group(0) @binding(4) var<storage, read_write> h: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = tiles[workgroup.x];
    let part = part_of(workgroup.y);
    let first = part.group * 8u * TN + lane;
    let factor = tile.adapter * params.adapter_stride + part.factor;
    var f_at: array<u32, TN>;
    //# unroll
    for (var t = 0u; t < TN; t++) {
        f_at[t] = factor + min(first + 8u * t, params.rank - 1u) * params.factor_stride;
    }
    var x_at: array<u32, MT>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        x_at[m] = (tile.first_row + min(m, tile.rows - 1u)) * params.wide_stride + part.col;
    }
    let quads = (part.cols + 3u) / 4u;
    var acc: array<f32, MT * TN>;
    for (var quad0 = 0u; quad0 < quads; quad0 += 8u) {
        let col = 4u * min(quad0 + lane, quads - 1u);
        var xb: array<vec4f, MT>;
        //# unroll
        for (var m = 0u; m < MT; m++) {
            xb[m] = x_read(x_at[m] + col, part.cols - col);
        }
        let held = min(8u, quads - quad0);
        for (var i = 0u; i < held; i++) {
            var f: array<vec4f, TN>;
            //# unroll
            for (var t = 0u; t < TN; t++) {
                f[t] = factors[f_at[t] + quad0 + i];
            }
            //# unroll
            for (var c = 0u; c < 4u; c++) {
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let xe = subgroupShuffle(xb[m][c], i);
                    //# unroll
                    for (var t = 0u; t < TN; t++) {
                        acc[m * TN + t] += xe * f[t][c];
                    }
                }
            }
        }
    }
    let scale = select(1.0, tile.scale, params.scaled != 0u);
    //# unroll
    for (var m = 0u; m < MT; m++) {
        let h_at = (tile.first_row + m) * 4u * params.h_stride + part.index * params.rank;
        //# unroll
        for (var t = 0u; t < TN; t++) {
            if m < tile.rows && first + 8u * t < params.rank {
                h[h_at + first + 8u * t] = scale * acc[m * TN + t];
            }
        }
    }
}
