// stats/token_stats: log-probability of one token per row, and the entropy of the row's distribution.
//
// Shapes    logits (rows, x_stride vec4) of which `width` columns count; targets and stats (first + rows),
//           of which row i uses first + i; stats: (log p of the target, entropy), natural logarithms; a
//           target of width or more gives log p = 0; the distribution is that of scale * logits, where the
//           scale is 1 / temperature
// Types     f32
// Grid      rows workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Error     |log p - reference| <= 2^-20 max(1, |log p|)
// Gradient  stats/token_stats_backward
//
//# use lib/index
//# use stats/softmax
//# slot reduce

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    first: u32,
    scale: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;       // (rows, x_stride)
@group(0) @binding(2) var<storage, read> targets: array<u32>;        // (first + rows)
@group(0) @binding(3) var<storage, read_write> stats: array<vec2f>;  // (first + rows)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = min(folded(workgroup, grid), params.rows - 1u);
    let begin = row * params.x_stride;
    let softmax = softmax_of(begin, local);
    if local == 0u {
        let target_id = targets[params.first + row];
        let token = min(target_id, params.width - 1u);
        let above = logits[begin + token / 4u][token % 4u] * params.scale - softmax.largest;
        let logprob = select(0.0, above - log(softmax.sum), target_id < params.width);
        stats[params.first + row] = vec2f(logprob, log(softmax.sum) - softmax.mean);
    }
}
