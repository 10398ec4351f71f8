// lora/expand_tiled: y += s h F, MT rows of h by 64 columns of F per workgroup (arXiv 2310.18547).
//
// A lane owns one column, so that neighbours read neighbouring elements; all lanes read the same h at
// once, which hardware serves with one load. The sum for one element runs over the rows of F in order,
// whatever MT: a row's result is the same alone and in any batch, bit for bit.
//
// Shapes    tiles (n) of at most MT rows; factors (adapters, adapter_stride vec4); h (rows, h_stride
//           vec4): part p in columns p rank..(p + 1) rank; y (rows, wide_stride)
// Types     f32; s is the tile's scale or 1
// Grid      (sum over parts of ceil(cols / 64), n tiles) workgroups of 64 lanes
// Memory    none shared
// Requires  neither subgroups nor f16; rank a multiple of 4
// Error     |y - reference| <= (rank + 2) 2^-24 (|y| + s sum |h F|)
// Gradient  dh from lora/shrink, dF from lora/grad_weight
//
//# use lora/site

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> h: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = tiles[workgroup.y];
    let part = part_of(workgroup.x);
    let col = part.group * 64u + local;
    if col >= part.cols {
        return;
    }
    let f_stride = 4u * params.factor_stride;
    let f_at = 4u * (tile.adapter * params.adapter_stride + part.factor) + col;
    var h_at: array<u32, MT>;
    for (var m = 0u; m < MT; m++) {
        h_at[m] = (tile.first_row + min(m, tile.rows - 1u)) * params.h_stride;
    }
    var acc: array<f32, MT>;
    // From the part's own quad on, as in lora/expand_lane8.
    let h_quads = params.rank / 4u;
    let first_quad = part.index * h_quads;
    for (var quad = first_quad; quad < first_quad + h_quads; quad++) {
        let at = f_at + 4u * (quad - first_quad) * f_stride;
        let f = vec4f(
            factors[at],
            factors[at + f_stride],
            factors[at + 2u * f_stride],
            factors[at + 3u * f_stride],
        );
        for (var m = 0u; m < MT; m++) {
            acc[m] += dot(h[h_at[m] + quad], f);
        }
    }
    let scale = select(1.0, tile.scale, params.scaled != 0u);
    for (var m = 0u; m < MT; m++) {
        if m < tile.rows {
            y[(tile.first_row + m) * params.wide_stride + part.col + col] += scale * acc[m];
        }
    }
}
