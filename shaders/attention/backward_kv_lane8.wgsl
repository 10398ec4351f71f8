// attention/backward_kv_lane8: d_k = scale sum over rows of d_s q and d_v = sum over rows of p d_out, one
// 8-lane subgroup per tile of MT keys of a key head, which sums over all rows and query heads that see
// them.
//
// The mirror image of attention/backward_q_lane8: a lane keeps every eighth chunk of 8 dimensions of the
// tile's keys and values. Scores: lane = virtual row (a row times a query head of the group), k and v
// passed by shuffle. Sums: lane = dimensions, p and d_s passed by shuffle. Rows come in order, so a sum
// does not depend on how the work is split.
//
// Shapes    tiles (n): first row, number of rows, end of the rows that may see them, and end of those of their own
//           sequence, behind which branches are; a row's key is that row's;
//           the rest as attention/backward_q_lane8
// Types     q, d_out, d_qkv, sums f32; the cache as the `kv_read` slot decodes it
// Grid      (n tiles * k_tiles, kv_heads), k_tiles = ceil(largest tile / MT)
// Requires  subgroups of 8 lanes or more; every sequence from its first position on, its rows together
// Error     |d_k - reference| <= (rows + 2 head_dim) 2^-23 scale sum p |d_out| |v| |q|,
//           |d_v - reference| <= (rows + 2 head_dim) 2^-23 sum p |d_out|
//
//# use attention/keys
//# use attention/backward
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

const OWN: u32 = (CHUNKS + 7u) / 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let index = dealt(workgroup.x, params.workgroups);
    let tile = tiles[index / params.k_tiles];
    let skipped = (index % params.k_tiles) * MT;
    if skipped >= tile.y {
        return;
    }
    let first_row = tile.x + skipped;
    let n_keys = tile.y - skipped;
    let kv_head = workgroup.y;
    let group = params.heads / params.kv_heads;
    let base = rows_at[first_row].x;
    let position = rows_at[first_row].y;

    var k_own: array<Chunk, MT * OWN>;
    var v_own: array<Chunk, MT * OWN>;
    var d_k: array<Chunk, MT * OWN>;
    var d_v: array<Chunk, MT * OWN>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        let at = cached(base + position + min(m, n_keys - 1u), kv_head);
        //# unroll
        for (var i = 0u; i < OWN; i++) {
            let chunk = min(lane + 8u * i, CHUNKS - 1u);
            let k = k_read(at + chunk);
            k_own[m * OWN + i] = Chunk(params.scale * k.lo, params.scale * k.hi);
            v_own[m * OWN + i] = v_read(at + chunk);
        }
    }
    var end_row = tile.z;
    if params.window != 0u && tile.w == tile.z {
        end_row = min(end_row, first_row + min(MT, n_keys) - 1u + params.window);
    }
    let n_virtual = (end_row - first_row) * group;

    for (var virtual0 = 0u; virtual0 < n_virtual; virtual0 += 8u) {
        let virtual_row = min(virtual0 + lane, n_virtual - 1u);
        let row = first_row + virtual_row / group;
        let head = kv_head * group + virtual_row % group;
        let known = softmax[row * params.heads + head];
        let q_at = (row * params.heads + head) * 8u * BLOCKS;
        let d_at = row * params.d_out_stride + head * HEAD_DIM;
        var score: array<f32, MT>;
        var d_p: array<f32, MT>;
        //# unroll
        for (var i = 0u; i < OWN; i++) {
            for (var c = 0u; c < min(8u, CHUNKS - 8u * i); c++) {
                let x = q_chunk(q_at, 8u * i + c);
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let lo = subgroupShuffle(k_own[m * OWN + i].lo, c);
                    let hi = subgroupShuffle(k_own[m * OWN + i].hi, c);
                    score[m] += dot(lo, x.lo) + dot(hi, x.hi);
                }
                let d = d_out_chunk(d_at, 8u * i + c);
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let lo = subgroupShuffle(v_own[m * OWN + i].lo, c);
                    let hi = subgroupShuffle(v_own[m * OWN + i].hi, c);
                    d_p[m] += dot(lo, d.lo) + dot(hi, d.hi);
                }
            }
        }
        //# unroll
        for (var m = 0u; m < MT; m++) {
            let seen = sees(rows_at[row].y, position + m);
            let s = capped(score[m]);
            score[m] = weight(s, known.x, seen);
            d_p[m] = d_score(score[m], d_p[m], known.y, cap_slope(s), seen);
        }
        for (var l = 0u; l < min(8u, n_virtual - virtual0); l++) {
            let row_q_at = subgroupShuffle(q_at, l);
            let row_d_at = subgroupShuffle(d_at, l);
            //# unroll
            for (var i = 0u; i < OWN; i++) {
                let chunk = min(lane + 8u * i, CHUNKS - 1u);
                let x = q_chunk(row_q_at, chunk);
                let d = d_out_chunk(row_d_at, chunk);
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let p = subgroupShuffle(score[m], l);
                    let d_s = subgroupShuffle(d_p[m], l);
                    d_v[m * OWN + i].lo += p * d.lo;
                    d_v[m * OWN + i].hi += p * d.hi;
                    d_k[m * OWN + i].lo += d_s * x.lo;
                    d_k[m * OWN + i].hi += d_s * x.hi;
                }
            }
        }
    }

    //# unroll
    for (var m = 0u; m < MT; m++) {
        if m < n_keys {
            let k_at = (first_row + m) * params.d_stride + (params.heads + kv_head) * HEAD_DIM;
            let v_at = k_at + params.kv_heads * HEAD_DIM;
            //# unroll
            for (var i = 0u; i < OWN; i++) {
                store_chunk(k_at, lane + 8u * i, d_k[m * OWN + i], params.scale);
                store_chunk(v_at, lane + 8u * i, d_v[m * OWN + i], 1.0);
            }
        }
    }
}
