// attention/backward_delta: two values for the gradient of attention's softmax, for each row and head,
// its log-sum-exp and delta = sum d_out out = sum over keys of weight * d_weight (arXiv 2307.08691).
//
// Shapes    tiles (n): first row and number of rows; out (rows, out_stride), d_out (rows, d_out_stride);
//           lse (rows, heads); softmax (rows, heads): log-sum-exp, delta
// Types     f32
// Grid      one lane per row and head of a tile, (tiles, ceil(rows of the largest heads / WG))
// Error     |delta - reference| <= head_dim 2^-24 sum |d_out out|

struct Params {
    heads: u32,
    head_dim: u32,
    out_stride: u32,
    d_out_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;            // (tiles)
@group(0) @binding(2) var<storage, read> out: array<f32>;                    // (rows, out_stride)
@group(0) @binding(3) var<storage, read> lse: array<f32>;                    // (rows, heads)
@group(0) @binding(4) var<storage, read> d_out: array<f32>;                  // (rows, d_out_stride)
@group(0) @binding(5) var<storage, read_write> softmax: array<vec2f>;        // (rows, heads)

fn out_quad(head_at: u32, dim: u32) -> vec4f {
    var quad = vec4f(0.0);
    //# unroll
    for (var e = 0u; e < 4u; e++) {
        if dim + e < params.head_dim {
            quad[e] = out[head_at + dim + e];
        }
    }
    return quad;
}

fn d_out_quad(head_at: u32, dim: u32) -> vec4f {
    var quad = vec4f(0.0);
    //# unroll
    for (var e = 0u; e < 4u; e++) {
        if dim + e < params.head_dim {
            quad[e] = d_out[head_at + dim + e];
        }
    }
    return quad;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = tiles[workgroup.x];
    let unit = workgroup.y * WG + local;
    if unit >= tile.y * params.heads {
        return;
    }
    let row = tile.x + unit / params.heads;
    let head = unit % params.heads;
    let out_at = row * params.out_stride + head * params.head_dim;
    let d_out_at = row * params.d_out_stride + head * params.head_dim;
    // In the order in which d_out v is summed, from which delta will be taken: what rounding they
    // share cancels.
    var delta = 0.0;
    for (var d = 0u; d < params.head_dim; d += 8u) {
        let lo = dot(out_quad(out_at, d), d_out_quad(d_out_at, d));
        delta += lo + dot(out_quad(out_at, d + 4u), d_out_quad(d_out_at, d + 4u));
    }
    let at = row * params.heads + head;
    softmax[at] = vec2f(lse[at], delta);
}
