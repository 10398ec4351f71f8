// head/cap_logits_backward: the gradient of head/cap_logits, in place: d = scale (1 - (y / cap)^2) d, or scale d if
// CAP is 0.
//
// Shapes    y, the result of the forward op, and d (rows, stride vec4), of which `width` columns count
// Types     f32
// Grid      one lane per vec4, (ceil(width / 4 WG), rows)
// Error     |d - reference| <= 2^-20 |d|

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
@group(0) @binding(1) var<storage, read> y: array<vec4f>;          // (rows, stride)
@group(0) @binding(2) var<storage, read_write> d: array<vec4f>;    // (rows, stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    if 4u * quad >= params.width {
        return;
    }
    let at = workgroup.y * params.stride + quad;
    var slope = vec4f(params.scale);
    if CAP != 0u {
        let share = y[at] / params.cap;
        slope *= 1.0 - share * share;
    }
    d[at] *= slope;
}
