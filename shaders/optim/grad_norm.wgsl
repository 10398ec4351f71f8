// optim/grad_norm: sums of squares of a run of gradients, one for each part.
//
// Shapes    grads: the run is `len` values from vec4 `at` on, cut into parts of part_quads vec4; partials:
//           part i is written at partials_at + i; a part with nothing in it gives 0
// Types     f32
// Grid      one workgroup of WG lanes per part
// Memory    in the `reduce` slot
// Error     (part_quads / WG + log2(WG) + 3) 2^-24 of the sum; a NaN gives NaN, and infinity, like a sum
//           beyond f32, infinity
//
//# slot reduce

struct Params {
    at: u32,
    len: u32,
    part_quads: u32,
    partials_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let begin = workgroup.x * params.part_quads;
    let end = min(begin + params.part_quads, (params.len + 3u) / 4u);
    var squares = vec4f(0.0);
    for (var i = begin + local; i < end; i += WG) {
        let places = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
        let grad = select(vec4f(0.0), grads[params.at + i], places < vec4<u32>(params.len));
        squares += grad * grad;
    }
    let sum = group_sum(squares.x + squares.y + (squares.z + squares.w), local);
    if local == 0u {
        partials[params.partials_at + workgroup.x] = sum;
    }
}
