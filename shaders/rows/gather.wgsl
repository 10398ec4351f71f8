// rows/gather: y[i] = x[index[first + i]].
//
// Shapes    x (indexed_rows, x_stride vec4); index (first + rows); y (rows, y_stride vec4); of each row
//           the first `quads` vec4
// Types     f32
// Grid      one lane per vec4, (ceil(quads / WG), rows)
// Error     exact; a row whose index is beyond x is left as it was
// Gradient  rows/scatter

struct Params {
    rows: u32,
    quads: u32,
    x_stride: u32,
    y_stride: u32,
    first: u32,
    indexed_rows: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;        // (indexed_rows, x_stride)
@group(0) @binding(2) var<storage, read> index: array<u32>;      // (first + rows)
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;  // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let row = workgroup.y;
    let source = index[params.first + row];
    if quad < params.quads && source < params.indexed_rows {
        y[row * params.y_stride + quad] = x[source * params.x_stride + quad];
    }
}
