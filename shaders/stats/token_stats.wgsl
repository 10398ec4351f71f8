// stats/token_stats: log-probability of one token per row, and the entropy of the row's distribution.
//
// Shapes    logits (rows, x_stride) of which `width` count; targets (rows); stats (rows): (log p of the
//           target, entropy), natural logarithms; a target of width or more gives log p = 0
// Types     f32
// Grid      rows workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Error     |log p - reference| <= 2^-20 max(1, |log p|)
// Gradient  stats/token_stats_backward
//
//# use lib/index
//# slot reduce

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // (rows, x_stride)
@group(0) @binding(2) var<storage, read> targets: array<u32>;        // (rows)
@group(0) @binding(3) var<storage, read_write> stats: array<vec2f>;  // (rows)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = min(folded(workgroup, grid), params.rows - 1u);
    let first = row * params.x_stride;
    var best = -1e30;
    for (var i = local; i < params.width; i += WG) {
        best = max(best, logits[first + i]);
    }
    let largest = group_max(best, local);
    // Four partial sums: a long row's total keeps its last bits.
    var total = vec4f(0.0);
    var weighted = vec4f(0.0);
    var turn = 0u;
    for (var i = local; i < params.width; i += WG) {
        let above = logits[first + i] - largest;
        let p = exp(above);
        let lane = vec4f(vec4<u32>(turn & 3u) == vec4<u32>(0u, 1u, 2u, 3u));
        total += p * lane;
        weighted += p * above * lane;
        turn++;
    }
    let sum = group_sum(total.x + total.y + (total.z + total.w), local);
    let mean = group_sum(weighted.x + weighted.y + (weighted.z + weighted.w), local) / sum;
    if local == 0u {
        let target_id = targets[row];
        let above = logits[first + min(target_id, params.width - 1u)] - largest;
        stats[row] = vec2f(select(0.0, above - log(sum), target_id < params.width), log(sum) - mean);
    }
}
