// attention/backward_kv_tiled: d_k = scale sum over rows of d_s q and d_v = sum over rows of p d_out, one
// workgroup of 64 lanes per tile of MT keys of a key head, which sums over all rows and query heads that
// see them.
//
// As attention/backward_kv_lane8, with 64 virtual rows at a time, and the tile's keys and values in
// workgroup memory. Scores: lane = virtual row. Sums: lane = (chunk of 8 dimensions, every SPLIT-th
// virtual row). The order of arithmetic for a key depends on its own sequence alone.
//
// Shapes    as attention/backward_kv_lane8
// Types     q, d_out, d_qkv, sums f32; the cache as the `kv_read` slot decodes it
// Grid      (n tiles * k_tiles, kv_heads), k_tiles = ceil(largest tile / MT)
// Memory    workgroup: 64 CHUNKS MT of k and v, 512 MT of p and d_s, 2048 for the last sum, in bytes
// Requires  HEAD_DIM <= 512; neither subgroups nor f16; every sequence from its first position on, its
//           rows together
// Error     as attention/backward_kv_lane8
//
//# use attention/keys
//# use attention/backward
//# use attention/chunk_sum
//# slot kv_read

struct Params {
    workgroups: u32,
    k_tiles: u32,
    heads: u32,
    kv_heads: u32,
    window: u32,
    d_out_stride: u32,
    d_stride: u32,
    scale: f32,
    cap: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
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

var<workgroup> k_tile: array<Chunk, MT * CHUNKS>;
var<workgroup> v_tile: array<Chunk, MT * CHUNKS>;
var<workgroup> weights: array<f32, MT * 64u>;
var<workgroup> d_scores: array<f32, MT * 64u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[workgroup.x / params.k_tiles];
    let skipped = (workgroup.x % params.k_tiles) * MT;
    // The whole workgroup returns or none of its lanes: barriers stay uniform.
    if skipped >= tile.y {
        return;
    }
    let first_row = tile.x + skipped;
    let n_keys = tile.y - skipped;
    let kv_head = workgroup.y;
    let group = params.heads / params.kv_heads;
    let base = rows_at[first_row].x;
    let position = rows_at[first_row].y;

    var d_k: array<Chunk, MT>;
    var d_v: array<Chunk, MT>;
    for (var m = 0u; m < MT; m++) {
        let at = cached(base + position + min(m, n_keys - 1u), kv_head);
        for (var c = lane; c < CHUNKS; c += 64u) {
            let k = k_read(at + c);
            k_tile[m * CHUNKS + c] = Chunk(params.scale * k.lo, params.scale * k.hi);
            v_tile[m * CHUNKS + c] = v_read(at + c);
        }
    }
    workgroupBarrier();
    var end_row = tile.z;
    if params.window != 0u && tile.w == tile.z {
        end_row = min(end_row, first_row + min(MT, n_keys) - 1u + params.window);
    }
    let n_virtual = (end_row - first_row) * group;
    let my_chunk = lane % CHUNKS;
    let my_split = lane / CHUNKS;

    for (var virtual0 = 0u; virtual0 < n_virtual; virtual0 += 64u) {
        let virtual_row = min(virtual0 + lane, n_virtual - 1u);
        let row = first_row + virtual_row / group;
        let head = kv_head * group + virtual_row % group;
        let known = softmax[row * params.heads + head];
        let q_at = (row * params.heads + head) * 8u * BLOCKS;
        let d_at = row * params.d_out_stride + head * HEAD_DIM;
        var score: array<f32, MT>;
        var d_p: array<f32, MT>;
        for (var c = 0u; c < CHUNKS; c++) {
            let x = q_chunk(q_at, c);
            let d = d_out_chunk(d_at, c);
            for (var m = 0u; m < MT; m++) {
                let k = k_tile[m * CHUNKS + c];
                let v = v_tile[m * CHUNKS + c];
                score[m] += dot(x.lo, k.lo) + dot(x.hi, k.hi);
                d_p[m] += dot(d.lo, v.lo) + dot(d.hi, v.hi);
            }
        }
        for (var m = 0u; m < MT; m++) {
            let seen = sees(rows_at[row].y, position + m);
            let s = capped(score[m]);
            let p = weight(s, known.x, seen);
            weights[m * 64u + lane] = p;
            d_scores[m * 64u + lane] = d_score(p, d_p[m], known.y, cap_slope(s), seen);
        }
        workgroupBarrier();
        if my_split < SPLIT {
            for (var l = my_split; l < min(64u, n_virtual - virtual0); l += SPLIT) {
                let other = virtual0 + l;
                let other_row = first_row + other / group;
                let other_head = kv_head * group + other % group;
                let x = q_chunk((other_row * params.heads + other_head) * 8u * BLOCKS, my_chunk);
                let d = d_out_chunk(other_row * params.d_out_stride + other_head * HEAD_DIM, my_chunk);
                for (var m = 0u; m < MT; m++) {
                    let p = weights[m * 64u + l];
                    let d_s = d_scores[m * 64u + l];
                    d_v[m].lo += p * d.lo;
                    d_v[m].hi += p * d.hi;
                    d_k[m].lo += d_s * x.lo;
                    d_k[m].hi += d_s * x.hi;
                }
            }
        }
        workgroupBarrier();
    }

    for (var m = 0u; m < MT; m++) {
        let d_key = chunk_sum(d_k[m], lane);
        let d_value = chunk_sum(d_v[m], lane);
        if m < n_keys && lane < CHUNKS {
            let k_at = (first_row + m) * params.d_stride + (params.heads + kv_head) * HEAD_DIM;
            store_chunk(k_at, lane, d_key, params.scale);
            store_chunk(k_at + params.kv_heads * HEAD_DIM, lane, d_value, 1.0);
        }
    }
}
