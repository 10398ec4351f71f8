// attention/backward: shared functions of the kernels of attention's gradient.
//
// Requires  q and d_out (array of vec4f; heads of HEAD_DIM one after another) and d_qkv as the kernel
//           declares them; Chunk by the `kv_read` slot

// Which share of the work a workgroup takes: even shares first, then odd ones. llvmpipe gives one half
// of a dispatch to each of two threads, and late queries and early keys have more to do than others.
fn dealt(workgroup: u32, workgroups: u32) -> u32 {
    let evens = (workgroups + 1u) / 2u;
    return select(2u * (workgroup - evens) + 1u, 2u * workgroup, workgroup < evens);
}

// Dimensions dim .. dim + 4 of the head of d_out that starts at element `head_at`; zero beyond the head.
fn d_out_quad(head_at: u32, dim: u32) -> vec4f {
    if HEAD_DIM % 8u == 0u {
        return d_out[(head_at + dim) / 4u];
    }
    var quad = vec4f(0.0);
    //# unroll
    for (var e = 0u; e < 4u; e++) {
        if dim + e < HEAD_DIM {
            let at = head_at + dim + e;
            quad[e] = d_out[at / 4u][at % 4u];
        }
    }
    return quad;
}

fn d_out_chunk(head_at: u32, chunk: u32) -> Chunk {
    return Chunk(d_out_quad(head_at, 8u * chunk), d_out_quad(head_at, 8u * chunk + 4u));
}

fn q_chunk(head_at: u32, chunk: u32) -> Chunk {
    return Chunk(q[head_at + 2u * chunk], q[head_at + 2u * chunk + 1u]);
}

// The weight of a key in a softmax whose log-sum-exp is known.
fn weight(score: f32, lse: f32, seen: bool) -> f32 {
    return select(0.0, exp(score - lse), seen);
}

// The gradient of a score before its cap, without `scale`; `slope` is the derivative of the cap. A key outside a row's window may be any value, also NaN.
fn d_score(p: f32, d_p: f32, delta: f32, slope: f32, seen: bool) -> f32 {
    return select(0.0, p * (d_p - delta) * slope, seen);
}

// Stores a chunk of a head's gradient, times `scale`; dimensions beyond the head are dropped.
fn store_chunk(head_at: u32, chunk: u32, gradient: Chunk, scale: f32) {
    //# unroll
    for (var e = 0u; e < 4u; e++) {
        let d = 8u * chunk + e;
        if d < HEAD_DIM {
            d_qkv[head_at + d] = scale * gradient.lo[e];
        }
        if d + 4u < HEAD_DIM {
            d_qkv[head_at + d + 4u] = scale * gradient.hi[e];
        }
    }
}
