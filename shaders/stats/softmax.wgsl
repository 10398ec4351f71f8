// stats/softmax: what the softmax of one row of logits needs, by all lanes of a workgroup.
//
// Requires  `logits` as vec4, `params.width` and `params.scale` as the kernel declares them; the `reduce` slot

// A logit that adds nothing to a sum of exponentials, and whose product with 0 is 0.
const LOWEST: f32 = -1e30;

struct Softmax {
    largest: f32,  // of the scaled logits
    sum: f32,      // of exp(logit - largest)
    mean: f32,     // expectation of logit - largest
}

fn columns_of(quad: u32) -> vec4<u32> {
    return vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
}

// Four scaled logits of the row that begins at vec4 `first`; LOWEST beyond the width.
fn logits_of(first: u32, quad: u32) -> vec4f {
    return select(vec4f(LOWEST), logits[first + quad] * params.scale, columns_of(quad) < vec4<u32>(params.width));
}

fn softmax_of(first: u32, local: u32) -> Softmax {
    let quads = (params.width + 3u) / 4u;
    var best = vec4f(LOWEST);
    for (var i = local; i < quads; i += WG) {
        best = max(best, logits_of(first, i));
    }
    let largest = group_max(max(max(best.x, best.y), max(best.z, best.w)), local);
    // Four partial sums a lane: a long row's total keeps its last bits.
    var total = vec4f(0.0);
    var weighted = vec4f(0.0);
    for (var i = local; i < quads; i += WG) {
        let above = logits_of(first, i) - largest;
        let p = exp(above);
        total += p;
        weighted += p * above;
    }
    let sum = group_sum(total.x + total.y + (total.z + total.w), local);
    let mean = group_sum(weighted.x + weighted.y + (weighted.z + weighted.w), local) / sum;
    return Softmax(largest, sum, mean);
}
