// mlp/glu_backward: gradients of y = act(gate) * up: d_gate = d_y up act'(gate), d_up = d_y act(gate).
//
// Shapes    gate_up and d_gate_up (rows, .._stride vec4): gate in columns 0..width, up in width..2 width;
//           d_y (rows, d_y_stride vec4)
// Types     f32
// Grid      (.., rows) with one lane for 4 gates and their ups; SPLIT, where width is no multiple of 4
//           and so no vec4 of gates has its ups in one vec4: one lane for 4 columns of d_gate_up
// Error     |d - reference| <= 2^-20 |d_y| max(|gate|, |up| max(1, |gate|))
//
//# slot gate

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    d_y_stride: u32,
    d_x_stride: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<vec4f>;          // (rows, x_stride)
@group(0) @binding(2) var<storage, read> d_y: array<vec4f>;              // (rows, d_y_stride)
@group(0) @binding(3) var<storage, read_write> d_gate_up: array<vec4f>;  // (rows, d_x_stride)

fn d_gate(gate: vec4f, up: vec4f, d: vec4f) -> vec4f {
    return d * up * activated_slope(gate);
}

fn d_up(gate: vec4f, d: vec4f) -> vec4f {
    return d * activated(gate);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let row = workgroup.y;
    let x_first = row * params.x_stride;
    let d_y_first = row * params.d_y_stride;
    let d_x_first = row * params.d_x_stride;
    let width = params.width;
    if SPLIT == 0u {
        if 4u * quad < width {
            let gate = gate_up[x_first + quad];
            let up = gate_up[x_first + width / 4u + quad];
            let d = d_y[d_y_first + quad];
            d_gate_up[d_x_first + quad] = d_gate(gate, up, d);
            d_gate_up[d_x_first + width / 4u + quad] = d_up(gate, d);
        }
    } else if 4u * quad < 2u * width {
        let columns = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        var gate = vec4f(0.0);
        var up = vec4f(0.0);
        var d = vec4f(0.0);
        for (var i = 0u; i < 4u; i++) {
            let column = columns[i] % width;
            gate[i] = gate_up[x_first + column / 4u][column % 4u];
            up[i] = gate_up[x_first + (width + column) / 4u][(width + column) % 4u];
            d[i] = d_y[d_y_first + column / 4u][column % 4u];
        }
        let values = select(d_up(gate, d), d_gate(gate, up, d), columns < vec4<u32>(width));
        // The padding stays zero for any gradient.
        d_gate_up[d_x_first + quad] = select(vec4f(0.0), values, columns < vec4<u32>(2u * width));
    }
}
