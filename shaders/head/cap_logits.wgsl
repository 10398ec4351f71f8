// head/cap_logits: y = cap tanh(scale y / cap), or scale y if CAP is 0, in place.
//
// Shapes    y (rows, stride vec4), of which `width` columns count
// Types     f32
// Grid      one lane per vec4, (ceil(width / 4 WG), rows)
// Error     |y - reference| <= 2^-20 |y|
// Gradient  head/cap_logits_backward

struct Params {
    rows: u32,
    width: u32,
    stride: u32,
    scale: f32,
    cap: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;    // (rows, stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    if 4u * quad >= params.width {
        return;
    }
    let at = workgroup.y * params.stride + quad;
    var value = params.scale * y[at];
    if CAP != 0u {
        // Beyond 15 the hyperbolic tangent is 1 in f32, and some drivers' is not a number.
        value = params.cap * tanh(clamp(value / params.cap, vec4f(-15.0), vec4f(15.0)));
    }
    y[at] = value;
}
