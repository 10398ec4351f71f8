const WG: u32 = 32u;
const HEAD_DIM: u32 = 64u;
const ROTARY: u32 = 64u;
// rope/rope: rotates q and k by position (arXiv 2104.09864), lays q out for attention and appends k and v to the
// cache. The first ROTARY dimensions of a head are rotated, their halves paired as in Hugging Face's models.
//
// Shapes    qkv (rows, qkv_stride): heads of q, then kv_heads of k, then kv_heads of v, HEAD_DIM each;
//           rows_at (rows): base and position, a row's key becomes key base + position of the cache;
//           table (longest, ROTARY / 2): (cos, sin) of the positions of the longest sequence;
//           q (rows, heads, 32 ceil(HEAD_DIM / 32)), zero beyond HEAD_DIM;
//           k_cache, v_cache (positions, kv_heads, ceil(HEAD_DIM / 8) chunks)
// Types     qkv, table, q f32; the caches as the `kv_write` slot stores them
// Grid      one lane per chunk of 8 dimensions of a head, (ceil(heads' chunks / WG), rows)
// Error     |q - reference| <= 3 2^-24 (|a| + |b|), then the cache's rounding
// Gradient  rope/rope_backward, for q and k
//
// kv/write_f16: stores eight dimensions of a key or value, rounded to f16.
//
// kv/pack_f16: eight values as f16 in one vec4<u32>.
//
// What f16 cannot hold becomes NaN, whatever the driver's conversion makes of it, so that it reaches the logits: an
// infinite key would only hide its position from attention.

// Bits of the largest float that rounds to a finite f16, 65519.996.
const LARGEST_BITS: u32 = 0x477fefffu;

fn pack_pair(pair: vec2f) -> u32 {
    let beyond = (bitcast<vec2<u32>>(pair) & vec2<u32>(0x7fffffffu)) > vec2<u32>(LARGEST_BITS);
    let nan = select(vec2<u32>(0u), vec2<u32>(0x7e00u, 0x7e000000u), beyond);
    return pack2x16float(select(pair, vec2f(0.0), beyond)) | nan.x | nan.y;
}

fn kv_pack(lo: vec4f, hi: vec4f) -> vec4<u32> {
    return vec4<u32>(pack_pair(lo.xy), pack_pair(lo.zw), pack_pair(hi.xy), pack_pair(hi.zw));
}

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[chunk] = kv_pack(lo, hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[chunk] = kv_pack(lo, hi);
}

struct Params {
    rows: u32,
    heads: u32,
    kv_heads: u32,
    qkv_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;                    // (rows, qkv_stride)
@group(0) @binding(2) var<storage, read> rows_at: array<vec2<u32>>;          // (rows): base, position
@group(0) @binding(3) var<storage, read> table: array<vec2f>;                // (longest, ROTARY / 2)
@group(0) @binding(4) var<storage, read_write> q: array<vec4f>;              // (rows, heads, 8 BLOCKS)
@group(0) @binding(5) var<storage, read_write> k_cache: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> v_cache: array<vec4<u32>>;

const HALF: u32 = ROTARY / 2u;
const CHUNKS: u32 = (HEAD_DIM + 7u) / 8u;
const Q_CHUNKS: u32 = 4u * ((HEAD_DIM + 31u) / 32u);

fn plain(first: u32, dim: u32) -> f32 {
    return select(0.0, qkv[first + min(dim, HEAD_DIM - 1u)], dim < HEAD_DIM);
}

fn rotated(first: u32, position: u32, dim: u32) -> f32 {
    if dim >= HEAD_DIM {
        return 0.0;
    }
    if dim >= ROTARY {
        return qkv[first + dim];
    }
    let turn = table[position * HALF + dim % HALF];
    if dim < HALF {
        return qkv[first + dim] * turn.x - qkv[first + dim + HALF] * turn.y;
    }
    return qkv[first + dim] * turn.x + qkv[first + dim - HALF] * turn.y;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let unit = workgroup.x * WG + local;
    let row = workgroup.y;
    let q_units = params.heads * Q_CHUNKS;
    let kv_units = params.kv_heads * CHUNKS;
    if unit >= q_units + 2u * kv_units {
        return;
    }
    let base = rows_at[row].x;
    let position = rows_at[row].y;
    let row_first = row * params.qkv_stride;
    if unit < q_units {
        let first = row_first + (unit / Q_CHUNKS) * HEAD_DIM;
        let d = (unit % Q_CHUNKS) * 8u;
        let at = 2u * (row * q_units + unit);
        q[at] = vec4f(
            rotated(first, position, d), rotated(first, position, d + 1u),
            rotated(first, position, d + 2u), rotated(first, position, d + 3u),
        );
        q[at + 1u] = vec4f(
            rotated(first, position, d + 4u), rotated(first, position, d + 5u),
            rotated(first, position, d + 6u), rotated(first, position, d + 7u),
        );
        return;
    }
    let kv_unit = (unit - q_units) % kv_units;
    let head = kv_unit / CHUNKS;
    let d = (kv_unit % CHUNKS) * 8u;
    let chunk = (base + position) * kv_units + kv_unit;
    let k_first = row_first + (params.heads + head) * HEAD_DIM;
    if unit - q_units < kv_units {
        k_write(
            chunk,
            vec4f(
                rotated(k_first, position, d), rotated(k_first, position, d + 1u),
                rotated(k_first, position, d + 2u), rotated(k_first, position, d + 3u),
            ),
            vec4f(
                rotated(k_first, position, d + 4u), rotated(k_first, position, d + 5u),
                rotated(k_first, position, d + 6u), rotated(k_first, position, d + 7u),
            ),
        );
        return;
    }
    let v_first = k_first + params.kv_heads * HEAD_DIM;
    v_write(
        chunk,
        vec4f(plain(v_first, d), plain(v_first, d + 1u), plain(v_first, d + 2u), plain(v_first, d + 3u)),
        vec4f(plain(v_first, d + 4u), plain(v_first, d + 5u), plain(v_first, d + 6u), plain(v_first, d + 7u)),
    );
}
