// conv/short_conv_input: u = B x, the input of a short convolution (LFM2, arXiv 2511.23404), appended to the cache.
//
// Shapes    bcx (rows, x_stride vec4): B in columns 0..width, C in width..2 width, x in 2 width..3 width;
//           rows_at (rows): base and position, a row's input is that of place base + position of the cache;
//           u_cache (places, ceil(width / 8) chunks), zero beyond the width
// Types     bcx f32; the cache as the `conv_write` slot stores it
// Grid      one lane per chunk of 8 columns, (ceil(chunks / WG), rows)
// Error     |u - reference| <= 2^-24 |u|, then the cache's rounding
// Gradient  conv/short_conv_backward_input
//
//# use conv/parts
//# slot conv_write

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bcx: array<vec4f>;                  // (rows, x_stride)
@group(0) @binding(2) var<storage, read> rows_at: array<vec2<u32>>;          // (rows): base, position
@group(0) @binding(3) var<storage, read_write> u_cache: array<vec4<u32>>;    // (places, chunks)

fn gated(row: u32, quad: u32) -> vec4f {
    return part(row, 0u, quad) * part(row, 2u, quad);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = workgroup.x * WG + local;
    let row = workgroup.y;
    let chunks = (params.width + 7u) / 8u;
    if chunk >= chunks {
        return;
    }
    let place = rows_at[row].x + rows_at[row].y;
    u_write(place * chunks + chunk, gated(row, 2u * chunk), gated(row, 2u * chunk + 1u));
}
