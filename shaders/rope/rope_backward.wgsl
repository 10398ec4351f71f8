// rope/rope_backward: turns the gradients of rotated q and k back, in place: the transposed rotation.
//
// Shapes    d_qkv (rows, stride): heads of q and k, head_dim columns each, of which the first 2 half
//           are rotated, then v, which stays;
//           rows_at (rows): base and position; table (longest, half): (cos, sin)
// Types     f32
// Grid      one lane per pair of columns, (ceil(heads half / WG), rows)
// Error     |d - reference| <= 3 2^-24 (|a| + |b|)

struct Params {
    rows: u32,
    heads: u32,
    half: u32,
    stride: u32,
    head_dim: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows_at: array<vec2<u32>>;          // (rows): base, position
@group(0) @binding(2) var<storage, read> table: array<vec2f>;                // (longest, half)
@group(0) @binding(3) var<storage, read_write> d_qkv: array<f32>;            // (rows, stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pair = workgroup.x * WG + local;
    let row = workgroup.y;
    if pair >= params.heads * params.half {
        return;
    }
    let frequency = pair % params.half;
    let first = row * params.stride + (pair / params.half) * params.head_dim + frequency;
    let second = first + params.half;
    let turn = table[rows_at[row].y * params.half + frequency];
    let a = d_qkv[first];
    let b = d_qkv[second];
    d_qkv[first] = a * turn.x + b * turn.y;
    d_qkv[second] = b * turn.x - a * turn.y;
}
