// lora/grad_weight_lane8: dF += s h^T x, 4 TH rows by 32 TN columns of F per workgroup.
//
// Lane l owns columns 32 TN group + 32 t + 4 l + (0..4). Eight rows of h sit one to a lane and reach
// the others by shuffle. The sum for one element runs over the rows in order and is added once, so it
// does not depend on TH and TN; no atomics.
//
// Shapes    h (rows, h_stride vec4): part p in columns p rank..(p + 1) rank; x (rows, wide_stride);
//           grads laid out as one adapter's factors
// Types     f32; s is params.scale
// Grid      (sum over parts of ceil(cols / 32 TN), ceil(rank / 4 TH)) workgroups of 8 lanes, one subgroup
// Memory    none shared
// Requires  subgroups of 8 lanes or more; rank a multiple of 4
// Error     |dF - reference| <= (rows + 2) 2^-24 (|dF| + s sum |h x|)
//
//# use lora/site
//# slot read

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> h: array<vec4f>;
@group(0) @binding(2) var<storage, read> x: array<Element>;
@group(0) @binding(3) var<storage, read_write> grads: array<vec4f>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let part = part_of(workgroup.x);
    let quads = (part.cols + 3u) / 4u;
    let first = part.group * 8u * TN + lane;
    var col: array<u32, TN>;
    //# unroll
    for (var t = 0u; t < TN; t++) {
        col[t] = 4u * min(first + 8u * t, quads - 1u);
    }
    let h_quads = params.rank / 4u;
    let first_quad = workgroup.y * TH;
    var h_at: array<u32, TH>;
    //# unroll
    for (var q = 0u; q < TH; q++) {
        h_at[q] = part.index * h_quads + min(first_quad + q, h_quads - 1u);
    }
    var acc: array<vec4f, 4u * TH * TN>;
    for (var row0 = params.first_row; row0 < params.end_row; row0 += 8u) {
        let row = min(row0 + lane, params.end_row - 1u);
        var hb: array<vec4f, TH>;
        //# unroll
        for (var q = 0u; q < TH; q++) {
            hb[q] = h[row * params.h_stride + h_at[q]];
        }
        let held = min(8u, params.end_row - row0);
        for (var i = 0u; i < held; i++) {
            let x_at = (row0 + i) * params.wide_stride + part.col;
            var xb: array<vec4f, TN>;
            //# unroll
            for (var t = 0u; t < TN; t++) {
                xb[t] = x_read(x_at + col[t], part.cols - col[t]);
            }
            //# unroll
            for (var q = 0u; q < TH; q++) {
                //# unroll
                for (var c = 0u; c < 4u; c++) {
                    let he = subgroupShuffle(hb[q][c], i);
                    //# unroll
                    for (var t = 0u; t < TN; t++) {
                        acc[(4u * q + c) * TN + t] += he * xb[t];
                    }
                }
            }
        }
    }
    //# unroll
    for (var q = 0u; q < TH; q++) {
        //# unroll
        for (var t = 0u; t < TN; t++) {
            let quad = first + 8u * t;
            if first_quad + q < h_quads && quad < quads {
                let kept = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(part.cols - 4u * quad);
                //# unroll
                for (var c = 0u; c < 4u; c++) {
                    let at = part.factor + (4u * (first_quad + q) + c) * params.factor_stride + quad;
                    grads[at] += select(vec4f(), params.scale * acc[(4u * q + c) * TN + t], kept);
                }
            }
        }
    }
}
