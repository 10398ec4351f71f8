// attention/backward_q_tiled: d_q = scale sum over keys of d_s k, one workgroup of 64 lanes per tile of MT
// virtual rows (a row of the batch times a query head of the group).
//
// As attention/backward_q_lane8, with 64 keys at a time, always from a multiple of 64 on, and q and d_out
// of the tile in workgroup memory. Scores: lane = key. Sums: lane = (chunk of 8 dimensions, every SPLIT-th
// key). The order of arithmetic for a row depends on its position alone.
//
// Shapes    as attention/backward_q_lane8
// Types     q, d_out, d_qkv, sums f32; the cache as the `kv_read` slot decodes it
// Grid      (n tiles * v_tiles, kv_heads), v_tiles = ceil(largest tile * group / MT)
// Memory    workgroup: 64 CHUNKS MT of q and d_out, 256 MT of d_s, 2048 for the last sum, in bytes
// Requires  HEAD_DIM <= 512; neither subgroups nor f16
// Error     as attention/backward_q_lane8
//
//# use attention/keys
//# use attention/backward
//# use attention/chunk_sum
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

var<workgroup> q_tile: array<Chunk, MT * CHUNKS>;
var<workgroup> d_tile: array<Chunk, MT * CHUNKS>;
var<workgroup> d_scores: array<f32, MT * 64u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[workgroup.x / params.v_tiles];
    let first = (workgroup.x % params.v_tiles) * MT;
    let group = params.heads / params.kv_heads;
    let n_virtual = tile.y * group;
    // The whole workgroup returns or none of its lanes: barriers stay uniform.
    if first >= n_virtual {
        return;
    }
    let kv_head = workgroup.y;
    let span = Span(rows_at[tile.x].x, tile.z, tile.w);
    let first_position = rows_at[tile.x].y;

    var position: array<u32, MT>;
    var known: array<vec2f, MT>;
    var d_q: array<Chunk, MT>;
    for (var m = 0u; m < MT; m++) {
        let virtual_row = min(first + m, n_virtual - 1u);
        let row = tile.x + virtual_row / group;
        let head = kv_head * group + virtual_row % group;
        position[m] = first_position + virtual_row / group;
        known[m] = softmax[row * params.heads + head];
        for (var c = lane; c < CHUNKS; c += 64u) {
            let x = q_chunk((row * params.heads + head) * 8u * BLOCKS, c);
            q_tile[m * CHUNKS + c] = Chunk(params.scale * x.lo, params.scale * x.hi);
            d_tile[m * CHUNKS + c] = d_out_chunk(row * params.d_out_stride + head * HEAD_DIM, c);
        }
    }
    workgroupBarrier();
    let last_key = position[MT - 1u];
    let my_chunk = lane % CHUNKS;
    let my_split = lane / CHUNKS;

    for (var key0 = first_tile(position[0], 64u); key0 <= last_key; key0 += 64u) {
        let key = key0 + lane;
        let at = cached(min(place(span, key), params.positions - 1u), kv_head);
        var score: array<f32, MT>;
        var d_p: array<f32, MT>;
        for (var c = 0u; c < CHUNKS; c++) {
            let k = k_read(at + c);
            let v = v_read(at + c);
            for (var m = 0u; m < MT; m++) {
                let x = q_tile[m * CHUNKS + c];
                let d = d_tile[m * CHUNKS + c];
                score[m] += dot(x.lo, k.lo) + dot(x.hi, k.hi);
                d_p[m] += dot(d.lo, v.lo) + dot(d.hi, v.hi);
            }
        }
        for (var m = 0u; m < MT; m++) {
            let seen = sees(position[m], key);
            let s = capped(score[m]);
            let p = weight(s, known[m].x, seen);
            d_scores[m * 64u + lane] = d_score(p, d_p[m], known[m].y, cap_slope(s), seen);
        }
        workgroupBarrier();
        if my_split < SPLIT {
            for (var l = my_split; l < min(64u, last_key + 1u - key0); l += SPLIT) {
                let k = k_read(cached(place(span, key0 + l), kv_head) + my_chunk);
                for (var m = 0u; m < MT; m++) {
                    let d_s = d_scores[m * 64u + l];
                    d_q[m].lo += d_s * k.lo;
                    d_q[m].hi += d_s * k.hi;
                }
            }
        }
        workgroupBarrier();
    }

    for (var m = 0u; m < MT; m++) {
        let sum = chunk_sum(d_q[m], lane);
        let virtual_row = first + m;
        if virtual_row < n_virtual && lane < CHUNKS {
            let row = tile.x + virtual_row / group;
            let head = kv_head * group + virtual_row % group;
            store_chunk(row * params.d_stride + head * HEAD_DIM, lane, sum, params.scale);
        }
    }
}
