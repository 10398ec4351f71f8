// attention/backward_q_lane8: d_q = scale sum over keys of d_s k, one 8-lane subgroup per tile of MT
// virtual rows (a row of the batch times a query head of the group).
//
// Weights come back from the scores, p = exp(s - lse), and d_s = p (d_out v - delta) (arXiv 2307.08691,
// algorithm 2, with the loop over keys inside): nothing as large as rows x keys is stored. A lane keeps
// every eighth chunk of 8 dimensions of the tile's q and d_out. Scores: lane = key, q and d_out passed
// by shuffle. Sums: lane = dimensions, d_s passed by shuffle.
//
// Shapes    tiles (n): first row and number of rows of one sequence, at consecutive positions, then where its
//           shared positions are and their number;
//           rows_at (rows): base and position; q (rows, heads, 8 BLOCKS vec4), rotated; caches as
//           rope/rope wrote them; d_out (rows, d_out_stride); softmax (rows, heads): log-sum-exp, delta;
//           d_qkv (rows, d_stride): heads of d_q, then d_k, then d_v, HEAD_DIM each
// Types     q, d_out, d_qkv, sums f32; the cache as the `kv_read` slot decodes it
// Grid      (n tiles * v_tiles, kv_heads), v_tiles = ceil(largest tile * group / MT)
// Requires  subgroups of 8 lanes or more
// Error     |d_q - reference| <= (keys + 2 head_dim) 2^-23 scale sum p |d_out| |v| |k|
//
//# use attention/keys
//# use attention/backward
//# slot kv_read

struct Params {
    workgroups: u32,
    v_tiles: u32,
    heads: u32,
    kv_heads: u32,
    positions: u32,
    window: u32,
    d_out_stride: u32,
    d_stride: u32,
    scale: f32,
    cap: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;            // (tiles)
@group(0) @binding(2) var<storage, read> rows_at: array<vec2<u32>>;          // (rows)
@group(0) @binding(3) var<storage, read> q: array<vec4f>;                    // (rows, heads, 8 BLOCKS)
@group(0) @binding(4) var<storage, read> k_cache: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> v_cache: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> d_out: array<vec4f>;                // (rows, d_out_stride)
@group(0) @binding(7) var<storage, read> softmax: array<vec2f>;              // (rows, heads): lse, delta
@group(0) @binding(8) var<storage, read_write> d_qkv: array<f32>;            // (rows, d_stride)

const OWN: u32 = (CHUNKS + 7u) / 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let index = dealt(workgroup.x, params.workgroups);
    let tile = tiles[index / params.v_tiles];
    let first = (index % params.v_tiles) * MT;
    let group = params.heads / params.kv_heads;
    let n_virtual = tile.y * group;
    if first >= n_virtual {
        return;
    }
    let kv_head = workgroup.y;
    let span = Span(rows_at[tile.x].x, tile.z, tile.w);
    let first_position = rows_at[tile.x].y;

    var position: array<u32, MT>;
    var lse: array<f32, MT>;
    var delta: array<f32, MT>;
    var q_own: array<Chunk, MT * OWN>;
    var d_own: array<Chunk, MT * OWN>;
    var d_q: array<Chunk, MT * OWN>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        let virtual_row = min(first + m, n_virtual - 1u);
        let row = tile.x + virtual_row / group;
        let head = kv_head * group + virtual_row % group;
        let known = softmax[row * params.heads + head];
        position[m] = first_position + virtual_row / group;
        lse[m] = known.x;
        delta[m] = known.y;
        //# unroll
        for (var i = 0u; i < OWN; i++) {
            let chunk = min(lane + 8u * i, CHUNKS - 1u);
            let x = q_chunk((row * params.heads + head) * 8u * BLOCKS, chunk);
            q_own[m * OWN + i] = Chunk(params.scale * x.lo, params.scale * x.hi);
            d_own[m * OWN + i] = d_out_chunk(row * params.d_out_stride + head * HEAD_DIM, chunk);
        }
    }
    let last_key = position[MT - 1u];

    for (var key0 = first_tile(position[0], 8u); key0 <= last_key; key0 += 8u) {
        var score: array<f32, MT>;
        var d_p: array<f32, MT>;
        let at = cached(min(place(span, key0 + lane), params.positions - 1u), kv_head);
        //# unroll
        for (var i = 0u; i < OWN; i++) {
            for (var c = 0u; c < min(8u, CHUNKS - 8u * i); c++) {
                let k = k_read(at + 8u * i + c);
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let lo = subgroupShuffle(q_own[m * OWN + i].lo, c);
                    let hi = subgroupShuffle(q_own[m * OWN + i].hi, c);
                    score[m] += dot(lo, k.lo) + dot(hi, k.hi);
                }
                let v = v_read(at + 8u * i + c);
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let lo = subgroupShuffle(d_own[m * OWN + i].lo, c);
                    let hi = subgroupShuffle(d_own[m * OWN + i].hi, c);
                    d_p[m] += dot(lo, v.lo) + dot(hi, v.hi);
                }
            }
        }
        //# unroll
        for (var m = 0u; m < MT; m++) {
            let seen = sees(position[m], key0 + lane);
            let s = capped(score[m]);
            let p = weight(s, lse[m], seen);
            score[m] = d_score(p, d_p[m], delta[m], cap_slope(s), seen);
        }
        for (var l = 0u; l < min(8u, last_key + 1u - key0); l++) {
            let key_at = cached(place(span, key0 + l), kv_head);
            //# unroll
            for (var i = 0u; i < OWN; i++) {
                let k = k_read(key_at + min(lane + 8u * i, CHUNKS - 1u));
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let d_s = subgroupShuffle(score[m], l);
                    d_q[m * OWN + i].lo += d_s * k.lo;
                    d_q[m * OWN + i].hi += d_s * k.hi;
                }
            }
        }
    }

    //# unroll
    for (var m = 0u; m < MT; m++) {
        let virtual_row = first + m;
        if virtual_row < n_virtual {
            let row = tile.x + virtual_row / group;
            let head = kv_head * group + virtual_row % group;
            //# unroll
            for (var i = 0u; i < OWN; i++) {
                store_chunk(row * params.d_stride + head * HEAD_DIM, lane + 8u * i, d_q[m * OWN + i], params.scale);
            }
        }
    }
}
