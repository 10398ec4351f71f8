// rate/multiply_add: y = x after `rounds` rounds of 8 steps x * 0.75 + 0.5: how fast a device multiplies and adds.
//
// A lane keeps 16 values in registers, so that a step need not wait for the one before.
//
// Shapes    x, y (quads vec4)
// Types     f32
// Grid      one lane for 4 vec4, ceil(quads / 4 WG) workgroups
// Error     |y - reference| <= 2^-20 max(|x|, 2): the values tend to 2
// Gradient  none; it is only a measure

struct Params {
    quads: u32,
    rounds: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = 4u * (workgroup.x * WG + local);
    let last = params.quads - 1u;
    var a = x[min(first, last)];
    var b = x[min(first + 1u, last)];
    var c = x[min(first + 2u, last)];
    var d = x[min(first + 3u, last)];
    for (var round = 0u; round < params.rounds; round++) {
        //# unroll
        for (var step = 0u; step < 8u; step++) {
            a = a * 0.75 + 0.5;
            b = b * 0.75 + 0.5;
            c = c * 0.75 + 0.5;
            d = d * 0.75 + 0.5;
        }
    }
    if first < params.quads {
        y[first] = a;
    }
    if first + 1u < params.quads {
        y[first + 1u] = b;
    }
    if first + 2u < params.quads {
        y[first + 2u] = c;
    }
    if first + 3u < params.quads {
        y[first + 3u] = d;
    }
}
