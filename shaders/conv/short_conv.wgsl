// conv/short_conv: y = C (bias + sum over taps of tap u), a gated causal filter along each column (LFM2).
//
// The inputs u of a row's own position and of TAPS - 1 before it come from the cache, as attention's keys do.
//
// Shapes    tiles (n): first row, number of rows, place and number of positions of the shared prefix;
//           rows_at (rows): base and position; bcx (rows, x_stride vec4): C in columns width..2 width;
//           u_cache (places, ceil(width / 8) chunks); taps (TAPS + 1, taps_stride vec4), zero beyond the width;
//           y (rows, y_stride vec4)
// Types     bcx, taps, y, sums f32; the cache as the `conv_read` slot decodes it
// Grid      one lane per 4 columns of a row of a tile, (ceil(width / 4 WG), tiles, rows of the largest)
// Error     |y - reference| <= (TAPS + 2) 2^-24 |C| (|bias| + sum |tap u|)
// Gradient  conv/short_conv_backward_gate, conv/short_conv_backward_input
//
//# use conv/parts
//# use conv/filter
//# slot conv_read

struct Params {
    tiles: u32,
    width: u32,
    x_stride: u32,
    taps_stride: u32,
    y_stride: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;            // (tiles)
@group(0) @binding(2) var<storage, read> rows_at: array<vec2<u32>>;          // (rows): base, position
@group(0) @binding(3) var<storage, read> bcx: array<vec4f>;                  // (rows, x_stride)
@group(0) @binding(4) var<storage, read> u_cache: array<vec4<u32>>;          // (places, chunks)
@group(0) @binding(5) var<storage, read> taps: array<vec4f>;                 // (TAPS + 1, taps_stride)
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;              // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let tile = tiles[workgroup.y];
    if 4u * quad >= params.width || workgroup.z >= tile.y {
        return;
    }
    let row = tile.x + workgroup.z;
    let span = Span(rows_at[row].x, tile.z, tile.w);
    y[row * params.y_stride + quad] = part(row, 1u, quad) * filtered(span, rows_at[row].y, quad);
}
