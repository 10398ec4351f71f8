// head/scalar_head_backward: of value = hidden . weight + bias, row by row: d_hidden += d_value weight;
// and of every trainable head: d_weight += sum of d_value hidden, d_bias += sum of d_value, over the
// rows that name it, in their order.
//
// Shapes    hidden and d_hidden (rows, .._stride vec4) of which `width` columns count; heads
//           (n_heads, head_stride vec4) and grads (n_trainable, head_stride vec4), the bias as the first
//           value of vec4 `bias_at`; head_of and d_values (first + rows), of which row i uses first + i
// Types     f32
// Grid      (ceil((quads + 1) / WG), rows + n_trainable): one lane per vec4 of d_hidden in the first
//           `rows` lines, per vec4 of grads in the others, of which the last lane has the bias
// Error     |d - reference| <= (rows + 2) 2^-24 sum |d_value hidden|

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    d_x_stride: u32,
    first: u32,
    n_heads: u32,
    head_stride: u32,
    bias_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hidden: array<vec4f>;           // (rows, x_stride)
@group(0) @binding(2) var<storage, read> heads: array<vec4f>;            // (n_heads, head_stride)
@group(0) @binding(3) var<storage, read> head_of: array<u32>;            // (first + rows)
@group(0) @binding(4) var<storage, read> d_values: array<f32>;           // (first + rows)
@group(0) @binding(5) var<storage, read_write> d_hidden: array<vec4f>;   // (rows, d_x_stride)
@group(0) @binding(6) var<storage, read_write> grads: array<vec4f>;      // (n_trainable, head_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = workgroup.x * WG + local;
    let quads = (params.width + 3u) / 4u;
    // The padding stays zero for any gradient.
    let columns = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
    let counts = columns < vec4<u32>(params.width);
    if workgroup.y < params.rows {
        let row = workgroup.y;
        let head = head_of[params.first + row];
        if quad < quads && head < params.n_heads {
            let slope = d_values[params.first + row] * heads[head * params.head_stride + quad];
            d_hidden[row * params.d_x_stride + quad] += select(vec4f(0.0), slope, counts);
        }
    } else if quad <= quads {
        let head = workgroup.y - params.rows;
        var sum = vec4f(0.0);
        for (var row = 0u; row < params.rows; row++) {
            if head_of[params.first + row] == head {
                let d_value = d_values[params.first + row];
                if quad < quads {
                    sum += select(vec4f(0.0), d_value * hidden[row * params.x_stride + quad], counts);
                } else {
                    sum.x += d_value;
                }
            }
        }
        grads[head * params.head_stride + select(quad, params.bias_at, quad == quads)] += sum;
    }
}
