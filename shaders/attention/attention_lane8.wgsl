// attention/attention_lane8: causal grouped-query attention over the cache, one 8-lane subgroup per
// tile of MT virtual rows (a row of the batch times a query head of the group).
//
// Keys are taken 8 KT at a time, always from a multiple of 8 KT on, with a running maximum and sum
// (arXiv 2205.14135): the order of arithmetic for a row depends on its position alone, so decode and
// prefill agree bit for bit. Scores: lane = key, q passed by shuffle. Values: lane = dimensions,
// probabilities passed by shuffle.
//
// Shapes    tiles (n): first row and number of rows of one sequence, at consecutive positions, then where its
//           shared positions are and their number;
//           rows_at (rows): base and position, a row's own key is at base + position of the cache;
//           q (rows, heads, 8 BLOCKS vec4); caches as rope/rope wrote them; out (rows, out_stride);
//           lse (rows, heads): log of the sum of exp of a row's scaled scores, if LSE
// Types     q, out, lse, sums f32; the cache as the `kv_read` slot decodes it
// Grid      (n tiles * v_tiles, kv_heads), v_tiles = ceil(largest tile * GROUP / MT)
// Requires  subgroups of 8 lanes or more
// Error     |out - reference| <= 2^-20 max |v| + head_dim 2^-24 terms of the scores, and lse likewise
// Gradient  attention/backward_q, attention/backward_kv
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

const OWN: u32 = (CHUNKS + 7u) / 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = tiles[workgroup.x / params.v_tiles];
    let first = (workgroup.x % params.v_tiles) * MT;
    let n_virtual = tile.y * GROUP;
    if first >= n_virtual {
        return;
    }
    let kv_head = workgroup.y;
    let span = Span(rows_at[tile.x].x, tile.z, tile.w);
    let first_position = rows_at[tile.x].y;

    var position: array<u32, MT>;
    var q_at: array<u32, MT>;
    var largest: array<f32, MT>;
    var total: array<f32, MT>;
    var o_lo: array<vec4f, MT * OWN>;
    var o_hi: array<vec4f, MT * OWN>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        let virtual_row = min(first + m, n_virtual - 1u);
        let row = tile.x + virtual_row / GROUP;
        position[m] = first_position + virtual_row / GROUP;
        q_at[m] = (row * params.heads + kv_head * GROUP + virtual_row % GROUP) * 8u * BLOCKS + lane;
        largest[m] = NEVER;
    }
    let last_key = position[MT - 1u];
    let first_key = first_tile(position[0], 8u * KT);

    for (var key0 = first_key; key0 <= last_key; key0 += 8u * KT) {
        var score: array<f32, MT * KT>;
        var k_at: array<u32, KT>;
        //# unroll
        for (var t = 0u; t < KT; t++) {
            k_at[t] = cached(min(place(span, key0 + 8u * t + lane), params.positions - 1u), kv_head);
        }
        for (var block = 0u; block < BLOCKS; block++) {
            var qb: array<vec4f, MT>;
            //# unroll
            for (var m = 0u; m < MT; m++) {
                qb[m] = q[q_at[m] + 8u * block];
            }
            for (var c = 0u; c < 4u; c++) {
                let chunk = 4u * block + c;
                if chunk < CHUNKS {
                    var k: array<Chunk, KT>;
                    //# unroll
                    for (var t = 0u; t < KT; t++) {
                        k[t] = k_read(k_at[t] + chunk);
                    }
                    //# unroll
                    for (var e = 0u; e < 4u; e++) {
                        //# unroll
                        for (var m = 0u; m < MT; m++) {
                            let q_lo = subgroupShuffle(qb[m][e], 2u * c);
                            let q_hi = subgroupShuffle(qb[m][e], 2u * c + 1u);
                            //# unroll
                            for (var t = 0u; t < KT; t++) {
                                score[m * KT + t] += q_lo * k[t].lo[e] + q_hi * k[t].hi[e];
                            }
                        }
                    }
                }
            }
        }
        //# unroll
        for (var m = 0u; m < MT; m++) {
            var best = NEVER;
            //# unroll
            for (var t = 0u; t < KT; t++) {
                let key = key0 + 8u * t + lane;
                let seen = sees(position[m], key);
                score[m * KT + t] = select(NEVER, capped(score[m * KT + t] * params.scale), seen);
                best = max(best, score[m * KT + t]);
            }
            best = max(best, subgroupShuffleXor(best, 1u));
            best = max(best, subgroupShuffleXor(best, 2u));
            best = max(best, subgroupShuffleXor(best, 4u));
            let new_largest = max(largest[m], best);
            let shrink = exp(largest[m] - new_largest);
            largest[m] = new_largest;
            total[m] *= shrink;
            //# unroll
            for (var t = 0u; t < KT; t++) {
                let s = score[m * KT + t];
                // Not `s > NEVER`, which would drop a key whose score is NaN.
                let p = select(exp(s - new_largest), 0.0, s == NEVER);
                score[m * KT + t] = p;
                total[m] += p;
            }
            //# unroll
            for (var i = 0u; i < OWN; i++) {
                o_lo[m * OWN + i] *= shrink;
                o_hi[m * OWN + i] *= shrink;
            }
        }
        //# unroll
        for (var t = 0u; t < KT; t++) {
            let reach = min(8u, last_key + 1u - min(last_key + 1u, key0 + 8u * t));
            for (var l = 0u; l < reach; l++) {
                let key = key0 + 8u * t + l;
                let v_at = cached(place(span, key), kv_head);
                var v: array<Chunk, OWN>;
                //# unroll
                for (var i = 0u; i < OWN; i++) {
                    v[i] = v_read(v_at + min(lane + 8u * i, CHUNKS - 1u));
                }
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let p = subgroupShuffle(score[m * KT + t], l);
                    //# unroll
                    for (var i = 0u; i < OWN; i++) {
                        o_lo[m * OWN + i] += p * v[i].lo;
                        o_hi[m * OWN + i] += p * v[i].hi;
                    }
                }
            }
        }
    }

    //# unroll
    for (var m = 0u; m < MT; m++) {
        var sum = total[m];
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        sum += subgroupShuffleXor(sum, 4u);
        let virtual_row = first + m;
        if virtual_row < n_virtual {
            let row = tile.x + virtual_row / GROUP;
            let head = kv_head * GROUP + virtual_row % GROUP;
            if LSE != 0u && lane == 0u {
                lse[row * params.heads + head] = largest[m] + log(sum);
            }
            let at = row * params.out_stride + head * HEAD_DIM;
            //# unroll
            for (var i = 0u; i < OWN; i++) {
                let d = 8u * (lane + 8u * i);
                //# unroll
                for (var e = 0u; e < 4u; e++) {
                    if d + e < HEAD_DIM {
                        out[at + d + e] = o_lo[m * OWN + i][e] / sum;
                    }
                    if d + 4u + e < HEAD_DIM {
                        out[at + d + 4u + e] = o_hi[m * OWN + i][e] / sum;
                    }
                }
            }
        }
    }
}
