// stats/token_stats_backward: the gradient of stats/token_stats, in place of the logits. With p the
// softmax of scale * logits, H its entropy and d = (d_logprob, d_entropy):
// d_logit[i] = scale (d_logprob (1[i = target] - p[i]) - d_entropy p[i] (log p[i] + H)).
//
// Shapes    logits (rows, x_stride vec4) of which `width` columns count; targets and d_stats
//           (first + rows), of which row i uses first + i; a target of width or more has no d_logprob
// Types     f32
// Grid      rows workgroups of WG lanes, folded
// Memory    in the `reduce` slot
// Error     |d_logit - reference| <= 2^-20 scale (|d_logprob| + |d_entropy| |log p|) (1[i = target] + p)
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
@group(0) @binding(1) var<storage, read_write> logits: array<vec4f>;  // (rows, x_stride)
@group(0) @binding(2) var<storage, read> targets: array<u32>;         // (first + rows)
@group(0) @binding(3) var<storage, read> d_stats: array<vec2f>;       // (first + rows)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = folded(workgroup, grid);
    // In place: a workgroup beyond the last row must write nothing.
    let inside = index < params.rows;
    let row = min(index, params.rows - 1u);
    let begin = row * params.x_stride;
    let softmax = softmax_of(begin, local);
    if inside {
        let target_id = targets[params.first + row];
        let d_entropy = d_stats[params.first + row].y;
        let d_logprob = select(0.0, d_stats[params.first + row].x, target_id < params.width);
        // log p + H = (above - log sum) + (log sum - mean), so one factor serves both terms.
        let fixed = d_logprob - d_entropy * softmax.mean;
        let share = 1.0 / softmax.sum;
        // A lane writes only what it alone has read.
        for (var i = local; i < (params.width + 3u) / 4u; i += WG) {
            let columns = columns_of(i);
            let above = logits[begin + i] * params.scale - softmax.largest;
            let hit = select(vec4f(0.0), vec4f(d_logprob), columns == vec4<u32>(target_id));
            let slope = hit - exp(above) * share * (fixed + d_entropy * above);
            // The padding stays zero for any gradient.
            logits[begin + i] = select(vec4f(0.0), slope * params.scale, columns < vec4<u32>(params.width));
        }
    }
}
