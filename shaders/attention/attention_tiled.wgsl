// attention/attention_tiled: causal grouped-query attention over the cache, one workgroup of 64 lanes
// per tile of MT virtual rows (a row of the batch times a query head of the group).
//
// Keys are taken 64 at a time, always from a multiple of 64 on, with a running maximum and sum
// (arXiv 2205.14135): the order of arithmetic for a row depends on its position alone, so decode and
// prefill agree bit for bit. Scores: lane = key. Values: lane = (chunk of 8 dimensions, every
// SPLIT-th key), added up at the end.
//
// Shapes    as attention/attention_lane8
// Types     q, out, lse, sums f32; the cache as the `kv_read` slot decodes it
// Grid      (n tiles * v_tiles, kv_heads), v_tiles = ceil(largest tile * GROUP / MT)
// Memory    workgroup: 128 BLOCKS MT of q, 256 MT of scores, 2048 for the last sum, in bytes
// Requires  HEAD_DIM <= 512; neither subgroups nor f16
// Error     as attention/attention_lane8
//
//# use attention/keys
//# slot kv_read

struct Params {
    tiles: u32,
    v_tiles: u32,
    heads: u32,
    kv_heads: u32,
    positions: u32,
    window: u32,
    out_stride: u32,
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
@group(0) @binding(6) var<storage, read_write> out: array<f32>;              // (rows, out_stride)
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;              // (rows, heads), written if LSE

const SPLIT: u32 = 64u / CHUNKS;   // keys whose values are summed side by side

const_assert CHUNKS <= 64u;

var<workgroup> q_tile: array<vec4f, MT * 8u * BLOCKS>;
var<workgroup> scores: array<f32, MT * 64u>;
var<workgroup> reduced: array<f32, 64>;
var<workgroup> partial: array<vec4f, 128>;

fn workgroup_max(value: f32, lane: u32) -> f32 {
    reduced[lane] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if lane < step {
            reduced[lane] = max(reduced[lane], reduced[lane + step]);
        }
        workgroupBarrier();
    }
    let result = reduced[0];
    workgroupBarrier();
    return result;
}

fn workgroup_sum(value: f32, lane: u32) -> f32 {
    reduced[lane] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if lane < step {
            reduced[lane] += reduced[lane + step];
        }
        workgroupBarrier();
    }
    let result = reduced[0];
    workgroupBarrier();
    return result;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[workgroup.x / params.v_tiles];
    let first = (workgroup.x % params.v_tiles) * MT;
    let n_virtual = tile.y * GROUP;
    // A workgroup beyond the tile's last row redoes that row and stores nothing: barriers stay uniform.
    let kv_head = workgroup.y;
    let span = Span(rows_at[tile.x].x, tile.z, tile.w);
    let first_position = rows_at[tile.x].y;

    var position: array<u32, MT>;
    var largest: array<f32, MT>;
    var total: array<f32, MT>;
    var o_lo: array<vec4f, MT>;
    var o_hi: array<vec4f, MT>;
    for (var m = 0u; m < MT; m++) {
        let virtual_row = min(first + m, n_virtual - 1u);
        position[m] = first_position + virtual_row / GROUP;
        largest[m] = NEVER;
        let row = tile.x + virtual_row / GROUP;
        let q_at = (row * params.heads + kv_head * GROUP + virtual_row % GROUP) * 8u * BLOCKS;
        for (var i = lane; i < 8u * BLOCKS; i += 64u) {
            q_tile[m * 8u * BLOCKS + i] = q[q_at + i];
        }
    }
    workgroupBarrier();
    let last_key = position[MT - 1u];
    let first_key = first_tile(position[0], 64u);
    let my_chunk = lane % CHUNKS;
    let my_split = lane / CHUNKS;

    for (var key0 = first_key; key0 <= last_key; key0 += 64u) {
        let key = key0 + lane;
        let k_at = cached(min(place(span, key), params.positions - 1u), kv_head);
        var score: array<f32, MT>;
        for (var c = 0u; c < CHUNKS; c++) {
            let k = k_read(k_at + c);
            for (var m = 0u; m < MT; m++) {
                let at = m * 8u * BLOCKS + 2u * c;
                score[m] += dot(q_tile[at], k.lo) + dot(q_tile[at + 1u], k.hi);
            }
        }
        for (var m = 0u; m < MT; m++) {
            let seen = sees(position[m], key);
            let s = select(NEVER, capped(score[m] * params.scale), seen);
            let new_largest = max(largest[m], workgroup_max(s, lane));
            let shrink = exp(largest[m] - new_largest);
            largest[m] = new_largest;
            let p = select(0.0, exp(s - new_largest), seen);
            total[m] = total[m] * shrink + p;
            o_lo[m] *= shrink;
            o_hi[m] *= shrink;
            scores[m * 64u + lane] = p;
        }
        workgroupBarrier();
        if my_split < SPLIT {
            let reach = min(64u, last_key + 1u - key0);
            for (var l = my_split; l < reach; l += SPLIT) {
                let v = v_read(cached(place(span, key0 + l), kv_head) + my_chunk);
                for (var m = 0u; m < MT; m++) {
                    let p = scores[m * 64u + l];
                    o_lo[m] += p * v.lo;
                    o_hi[m] += p * v.hi;
                }
            }
        }
        workgroupBarrier();
    }

    for (var m = 0u; m < MT; m++) {
        let sum = workgroup_sum(total[m], lane);
        partial[2u * lane] = o_lo[m];
        partial[2u * lane + 1u] = o_hi[m];
        workgroupBarrier();
        let virtual_row = first + m;
        if virtual_row < n_virtual && lane < CHUNKS {
            var lo = vec4f(0.0);
            var hi = vec4f(0.0);
            for (var s = 0u; s < SPLIT; s++) {
                lo += partial[2u * (s * CHUNKS + lane)];
                hi += partial[2u * (s * CHUNKS + lane) + 1u];
            }
            let row = tile.x + virtual_row / GROUP;
            let head = kv_head * GROUP + virtual_row % GROUP;
            if LSE != 0u && lane == 0u {
                lse[row * params.heads + head] = largest[m] + log(sum);
            }
            let at = row * params.out_stride + head * HEAD_DIM;
            let d = 8u * lane;
            for (var e = 0u; e < 4u; e++) {
                if d + e < HEAD_DIM {
                    out[at + d + e] = lo[e] / sum;
                }
                if d + 4u + e < HEAD_DIM {
                    out[at + d + 4u + e] = hi[e] / sum;
                }
            }
        }
        workgroupBarrier();
    }
}
