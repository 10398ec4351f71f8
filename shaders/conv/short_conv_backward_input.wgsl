// conv/short_conv_backward_input: d_B = d_u x and d_x = d_u B, where d_u is the gradient of u = B x: the sum, over the
// rows whose filter reaches the position of u, of tap d_y C.
//
// These rows are the row itself, those behind it in its sequence, and the first rows of branches that continue the
// sequence, if it ends that soon. They come in order, so a sum does not depend on how the work is split.
//
// Shapes    tiles (n): first row, number of rows, end of the rows that may see them, and end of those of their own
//           sequence, behind which branches are; rows_at (rows): base and position;
//           bcx (rows, x_stride vec4): B, C and x, `width` columns each; taps (TAPS + 1, taps_stride vec4);
//           d_y (rows, d_y_stride vec4); d_bcx (rows, d_stride): columns of B and of x are written
// Types     f32
// Grid      one lane per 4 columns of a row of a tile, (ceil(width / 4 WG), tiles, rows of the largest)
// Requires  every sequence from its first position on, its rows together, then its branches
// Error     |d - reference| <= (terms + 3) 2^-24 max(|B|, |x|) sum |tap d_y C|
//
//# use conv/parts

struct Params {
    tiles: u32,
    width: u32,
    x_stride: u32,
    taps_stride: u32,
    d_y_stride: u32,
    d_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;            // (tiles)
@group(0) @binding(2) var<storage, read> rows_at: array<vec2<u32>>;          // (rows): base, position
@group(0) @binding(3) var<storage, read> bcx: array<vec4f>;                  // (rows, x_stride)
@group(0) @binding(4) var<storage, read> taps: array<vec4f>;                 // (TAPS + 1, taps_stride)
@group(0) @binding(5) var<storage, read> d_y: array<vec4f>;                  // (rows, d_y_stride)
@group(0) @binding(6) var<storage, read_write> d_bcx: array<f32>;            // (rows, d_stride)

// What the row `ahead` positions further gives to the gradient of u.
fn term(row: u32, ahead: u32, quad: u32) -> vec4f {
    let tap = taps[(TAPS - 1u - ahead) * params.taps_stride + quad];
    return tap * d_y[row * params.d_y_stride + quad] * part(row, 1u, quad);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let tile = tiles[workgroup.y];
    if 4u * quad >= params.width || workgroup.z >= tile.y {
        return;
    }
    let row = tile.x + workgroup.z;
    let end = tile.z;
    let own_end = tile.w;
    var d_u = vec4f(0.0);
    for (var ahead = 0u; ahead < TAPS && row + ahead < own_end; ahead++) {
        d_u += term(row + ahead, ahead, quad);
    }
    if row + TAPS > own_end {
        let position = rows_at[row].y;
        for (var branch_row = own_end; branch_row < end; branch_row++) {
            let ahead = rows_at[branch_row].y - position;
            if ahead < TAPS {
                d_u += term(branch_row, ahead, quad);
            }
        }
    }
    let d_b = d_u * part(row, 2u, quad);
    let d_x = d_u * part(row, 0u, quad);
    let first = row * params.d_stride;
    for (var i = 0u; i < 4u; i++) {
        let column = 4u * quad + i;
        if column < params.width {
            d_bcx[first + column] = d_b[i];
            d_bcx[first + 2u * params.width + column] = d_x[i];
        }
    }
}
