// lora/expand_lane8: y += s h F, MT rows of h by 32 columns of F per workgroup (arXiv 2310.18547).
//
// Lane l owns columns 32 group + 4 l + (0..4). Eight rows of h sit one to a lane, four columns at a
// time, and reach the others by shuffle. The sum for one element runs over the rows of F in order,
// whatever MT: a row's result is the same alone and in any batch, bit for bit. Reading and writing y is
// two fifths of the time at rank 16.
//
// Shapes    tiles (n) of at most MT rows; factors (adapters, adapter_stride vec4); h (rows, h_stride
//           vec4): part p in columns p rank..(p + 1) rank; y (rows, wide_stride)
// Types     f32; s is the tile's scale or 1
// Grid      (sum over parts of ceil(cols / 32), n tiles) workgroups of 8 lanes, one subgroup
// Memory    none shared
// Requires  subgroups of 8 lanes or more; rank a multiple of 4
// Error     |y - reference| <= (rank + 2) 2^-24 (|y| + s sum |h F|)
// Gradient  dh from lora/shrink, dF from lora/grad_weight
//
//# use lora/site
//# slot add

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;
@group(0) @binding(2) var<storage, read> factors: array<vec4f>;
@group(0) @binding(3) var<storage, read> h: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<Element>;

const HELD: u32 = (MT + 7u) / 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = tiles[workgroup.y];
    let part = part_of(workgroup.x);
    let col = 4u * (part.group * 8u + lane);
    let last_quad = (part.cols - 1u) / 4u;
    let f_at = tile.adapter * params.adapter_stride + part.factor + min(col / 4u, last_quad);
    var h_at: array<u32, HELD>;
    //# unroll
    for (var g = 0u; g < HELD; g++) {
        h_at[g] = (tile.first_row + min(8u * g + lane, tile.rows - 1u)) * params.h_stride;
    }
    var acc: array<vec4f, MT>;
    // From the part's own quad on, not from 0: lavapipe compiles a kernel anew for every dispatch if
    // only numbers of `params` give the iterations of a short loop.
    let h_quads = params.rank / 4u;
    let first_quad = part.index * h_quads;
    for (var quad = first_quad; quad < first_quad + h_quads; quad++) {
        var hb: array<vec4f, HELD>;
        //# unroll
        for (var g = 0u; g < HELD; g++) {
            hb[g] = h[h_at[g] + quad];
        }
        let row0 = 4u * (quad - first_quad);
        var f: array<vec4f, 4>;
        //# unroll
        for (var c = 0u; c < 4u; c++) {
            f[c] = factors[f_at + (row0 + c) * params.factor_stride];
        }
        //# unroll
        for (var m = 0u; m < MT; m++) {
            //# unroll
            for (var c = 0u; c < 4u; c++) {
                acc[m] += subgroupShuffle(hb[m / 8u][c], m % 8u) * f[c];
            }
        }
    }
    let scale = select(1.0, tile.scale, params.scaled != 0u);
    //# unroll
    for (var m = 0u; m < MT; m++) {
        if m < tile.rows && col < part.cols {
            let y_at = (tile.first_row + m) * params.wide_stride + part.col;
            y_add(y_at + col, part.cols - col, scale * acc[m]);
        }
    }
}
