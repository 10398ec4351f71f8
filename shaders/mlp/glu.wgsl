// mlp/glu: y = act(gate) * up, a gated linear unit (arXiv 2002.05202): SwiGLU or GeGLU by the `gate` slot.
//
// Shapes    gate_up (rows, x_stride vec4): gate in columns 0..width, up in width..2 width;
//           y (rows, y_stride vec4)
// Types     f32
// Grid      one lane for 4 columns of y, (ceil(width / 4 WG), rows); SPLIT where width is no multiple of
//           4, and so no vec4 of gates has its ups in one vec4
// Error     |y - reference| <= 2^-20 |y|, and 2^-20 |gate up| with gelu
// Gradient  mlp/glu_backward
//
//# slot gate

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<vec4f>;    // (rows, x_stride)
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;    // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let row = workgroup.y;
    let first = row * params.x_stride;
    let width = params.width;
    if 4u * quad >= width {
        return;
    }
    var gate = gate_up[first + quad];
    var up = vec4f(0.0);
    if SPLIT == 0u {
        up = gate_up[first + width / 4u + quad];
    } else {
        // Columns beyond the width hold the first ups; zero instead, as the padding of y is.
        for (var i = 0u; i < 4u; i++) {
            let column = width + 4u * quad + i;
            let inside = column < 2u * width;
            gate[i] = select(0.0, gate[i], inside);
            up[i] = select(0.0, gate_up[first + column / 4u][column % 4u], inside);
        }
    }
    y[row * params.y_stride + quad] = activated(gate) * up;
}
