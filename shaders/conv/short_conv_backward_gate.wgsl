// conv/short_conv_backward_gate: d_C = d_y (bias + sum over taps of tap u), of y = C (bias + sum of tap u).
//
// Shapes    tiles (n): first row, number of rows, place and number of positions of the shared prefix;
//           rows_at (rows): base and position; u_cache (places, ceil(width / 8) chunks);
//           taps (TAPS + 1, taps_stride vec4); d_y (rows, d_y_stride vec4);
//           d_bcx (rows, d_stride): columns width..2 width are written
// Types     f32; the cache as the `conv_read` slot decodes it
// Grid      one lane per 4 columns of a row of a tile, (ceil(width / 4 WG), tiles, rows of the largest)
// Error     |d - reference| <= (TAPS + 2) 2^-24 |d_y| (|bias| + sum |tap u|)
//
//# use conv/filter
//# slot conv_read

struct Params {
    tiles: u32,
    width: u32,
    taps_stride: u32,
    d_y_stride: u32,
    d_stride: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;            // (tiles)
@group(0) @binding(2) var<storage, read> rows_at: array<vec2<u32>>;          // (rows): base, position
@group(0) @binding(3) var<storage, read> u_cache: array<vec4<u32>>;          // (places, chunks)
@group(0) @binding(4) var<storage, read> taps: array<vec4f>;                 // (TAPS + 1, taps_stride)
@group(0) @binding(5) var<storage, read> d_y: array<vec4f>;                  // (rows, d_y_stride)
@group(0) @binding(6) var<storage, read_write> d_bcx: array<f32>;            // (rows, d_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let tile = tiles[workgroup.y];
    if 4u * quad >= params.width || workgroup.z >= tile.y {
        return;
    }
    let row = tile.x + workgroup.z;
    let span = Span(rows_at[row].x, tile.z, tile.w);
    let d_c = d_y[row * params.d_y_stride + quad] * filtered(span, rows_at[row].y, quad);
    let first = row * params.d_stride + params.width;
    for (var i = 0u; i < 4u; i++) {
        let column = 4u * quad + i;
        if column < params.width {
            d_bcx[first + column] = d_c[i];
        }
    }
}
