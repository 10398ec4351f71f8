// lora/apply_lane8: y += s (x A^T) F, MT rows by `span` columns of a part per workgroup: lora/shrink and
// lora/expand at once (arXiv 2310.18547), with what is between them in registers.
//
// Lane l owns inner products 8 t + l, then columns 4 l + (0..4) of every 32. What is spread over the
// lanes, 32 columns of x or all of h, reaches the others by shuffle. Sums run in the order of lora/shrink_lane8
// and lora/expand_lane8: a row's result is theirs, alone and in any batch, bit for bit. Only where a
// part is divided into several spans are its inner products computed several times.
//
// Shapes    tiles (n) of at most MT rows; factors (adapters, adapter_stride vec4), with the part's rows
//           p rank..(p + 1) rank of A from `inner` on; x (rows, x_stride vec4); y (rows, wide_stride)
// Types     f32; s is the tile's scale
// Grid      (sum over parts of ceil(cols / span), n tiles) workgroups of 8 lanes, one subgroup
// Memory    none shared
// Requires  subgroups of 8 lanes or more; a rank of 4 QUADS; A zero beyond the inputs up to 32
// Error     |y - reference| <= (inputs + rank + 2) 2^-24 (|y| + s sum |x A^T F|)
// Gradient  lora/shrink, lora/expand and lora/grad_weight
//
//# use lora/site
//# slot add

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;
@group(0) @binding(2) var<storage, read> factors: array<vec4f>;
@group(0) @binding(3) var<storage, read> x: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<Element>;

const TN: u32 = (QUADS + 1u) / 2u;      // inner products of a lane

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = tiles[workgroup.y];
    let part = part_of(workgroup.x);
    let adapter = tile.adapter * params.adapter_stride;

    // From the part's own rows on, not from 0: see lora/expand_lane8.
    let first = part.index * 4u * QUADS * params.inner_stride;
    let quads = (params.inputs + 3u) / 4u;
    var a_at: array<u32, TN>;
    //# unroll
    for (var t = 0u; t < TN; t++) {
        a_at[t] = adapter + params.inner + min(8u * t + lane, 4u * QUADS - 1u) * params.inner_stride;
    }
    var x_at: array<u32, MT>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        x_at[m] = (tile.first_row + min(m, tile.rows - 1u)) * params.x_stride;
    }
    var h: array<f32, MT * TN>;
    for (var at = first; at < first + quads; at += 8u) {
        let held = min(8u, first + quads - at);
        let x_quad = at - first + min(lane, held - 1u);
        var xb: array<vec4f, MT>;
        //# unroll
        for (var m = 0u; m < MT; m++) {
            xb[m] = x[x_at[m] + x_quad];
        }
        for (var i = 0u; i < held; i++) {
            var a: array<vec4f, TN>;
            //# unroll
            for (var t = 0u; t < TN; t++) {
                a[t] = factors[a_at[t] + at + i];
            }
            //# unroll
            for (var c = 0u; c < 4u; c++) {
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let xe = subgroupShuffle(xb[m][c], i);
                    //# unroll
                    for (var t = 0u; t < TN; t++) {
                        h[m * TN + t] += xe * a[t][c];
                    }
                }
            }
        }
    }

    let factor = adapter + part.factor;
    let last_quad = (part.cols - 1u) / 4u;
    let end = min(part.cols, (part.group + 1u) * params.span);
    for (var col0 = part.group * params.span; col0 < end; col0 += 32u) {
        let col = col0 + 4u * lane;
        let f_at = factor + min(col / 4u, last_quad);
        var acc: array<vec4f, MT>;
        //# unroll
        for (var j = 0u; j < 4u * QUADS; j++) {
            let f = factors[f_at + j * params.factor_stride];
            //# unroll
            for (var m = 0u; m < MT; m++) {
                acc[m] += subgroupShuffle(h[m * TN + j / 8u], j % 8u) * f;
            }
        }
        //# unroll
        for (var m = 0u; m < MT; m++) {
            if m < tile.rows && col < part.cols {
                let y_at = (tile.first_row + m) * params.wide_stride + part.col;
                y_add(y_at + col, part.cols - col, tile.scale * acc[m]);
            }
        }
    }
}
