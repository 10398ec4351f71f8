// linear/matmul_transposed_lane8: d_x = d_y W (+ d_x), MT rows of d_x by one block of 32 columns.
//
// W is stored along its rows and is read that way: in each step of 32 columns of d_y a lane takes four
// columns, one load, decodes a block of each of their rows of W, and keeps 32 partial sums for each
// row of d_x to itself. The lanes' sums meet at the end, by three exchanges that leave a lane with
// four columns. Scales go into d_y before the products, offsets are summed apart. The sums do not fit
// in registers, so four products at a time are added to one. The order of a sum does not depend on
// MT: a row's result is the same alone and in any batch, bit for bit.
//
// Shapes    d_y (rows, y_stride vec4) by the `operand` slot; W (outputs, 32 blocks) by the `weight`
//           slot, for columns first.. of d_y; d_x (rows, x_stride vec4)
// Types     d_y, d_x, sums f32
// Grid      (blocks, ceil(rows / MT)) workgroups of 8 lanes, one subgroup
// Memory    none shared; 32 MT sums a lane
// Requires  subgroups of 8 lanes or more; d_y finite up to the next multiple of 32 columns
// Error     |d_x - reference| <= (outputs / 32 + 12) 2^-24 sum |d_y w|, with w before its offset
// Gradient  this is one: of linear/matmul_lane8 by x
//
//# use linear/product_transposed
//# slot operand
//# slot weight_words
//# slot weight

struct Params {
    rows: u32,
    first: u32,
    outputs: u32,
    inputs: u32,
    blocks: u32,
    y_stride: u32,
    x_stride: u32,
    adds: u32,
    x_row: u32, // row of d_x for the first row of d_y
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read_write> d_x: array<vec4f>;    // (rows, x_stride)

const GROUPS: u32 = 32u / WEIGHT_GROUP;
const GROUP_QUADS: u32 = WEIGHT_GROUP / 4u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = tile.y * MT;
    var y0: array<u32, MT>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        y0[m] = min(first_row + m, params.rows - 1u) * params.y_stride + lane;
    }
    var acc: array<vec4f, MT * 8u>;
    var offset: array<f32, MT * GROUPS>;
    let end = (params.first + params.outputs + 31u) / 32u;
    for (var step = params.first / 32u; step < end; step++) {
        var y: array<vec4f, MT>;
        //# unroll
        for (var m = 0u; m < MT; m++) {
            y[m] = operand_at(y0[m] + 8u * step);
        }
        // Columns of d_y in front of the first wrap around to the far end.
        let n = 32u * step + 4u * lane - params.first + vec4u(0u, 1u, 2u, 3u);
        let inside = n < vec4u(params.outputs);
        let row = min(n, vec4u(params.outputs - 1u));
        var w: array<WeightBlock, 4>;
        //# unroll
        for (var c = 0u; c < 4u; c++) {
            w[c] = weight_open(row[c] * params.blocks + tile.x);
        }
        //# unroll
        for (var g = 0u; g < GROUPS; g++) {
            var scale: mat4x2f;
            //# unroll
            for (var c = 0u; c < 4u; c++) {
                scale[c] = select(vec2f(), weight_scale(w[c], g), inside[c]);
            }
            let scales = transpose(scale);
            var scaled: array<vec4f, MT>;
            //# unroll
            for (var m = 0u; m < MT; m++) {
                scaled[m] = y[m] * scales[0];
                offset[m * GROUPS + g] += dot(y[m], scales[1]);
            }
            //# unroll
            for (var j = 0u; j < GROUP_QUADS; j++) {
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, 4>;
                //# unroll
                for (var c = 0u; c < 4u; c++) {
                    q[c] = weight_quad(w[c], quad);
                }
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    let s = scaled[m];
                    acc[m * 8u + quad] += s.x * q[0] + s.y * q[1] + s.z * q[2] + s.w * q[3];
                }
            }
        }
    }
    //# unroll
    for (var m = 0u; m < MT; m++) {
        // Each exchange halves the quads that a lane keeps: those whose number has the lane's bit.
        //# unroll
        for (var j = 0u; j < 4u; j++) {
            acc[m * 8u + j] = exchange(acc[m * 8u + j], acc[m * 8u + j + 4u], lane, 4u);
        }
        //# unroll
        for (var j = 0u; j < 2u; j++) {
            acc[m * 8u + j] = exchange(acc[m * 8u + j], acc[m * 8u + j + 2u], lane, 2u);
        }
        var sum = exchange(acc[m * 8u], acc[m * 8u + 1u], lane, 1u);
        //# unroll
        for (var g = 0u; g < GROUPS; g++) {
            var s = offset[m * GROUPS + g];
            s += subgroupShuffleXor(s, 1u);
            s += subgroupShuffleXor(s, 2u);
            s += subgroupShuffleXor(s, 4u);
            sum += select(0.0, s, lane / GROUP_QUADS == g);
        }
        store(first_row + m, 8u * tile.x + lane, sum);
    }
}

// The sum over two lanes that differ in `bit` of `high` for the one that has it, of `low` for the other.
fn exchange(low: vec4f, high: vec4f, lane: u32, bit: u32) -> vec4f {
    let has = (lane & bit) != 0u;
    return select(low, high, has) + subgroupShuffleXor(select(high, low, has), bit);
}
