// linear/matmul_lane8: y = x W^T (+ bias) (+ y), MT rows of x by 8 TN rows of W per workgroup.
//
// Lane l owns outputs n = 8 TN tile + 8 t + l. Each block of 32 elements of x sits four to a lane and
// reaches the others by shuffle, which on llvmpipe costs a tenth of a load; weights are decoded once
// and used MT times. The sum for one output runs over the blocks in order, whatever MT and TN:
// a row's result is the same alone and in any batch, bit for bit.
//
// Shapes    x (rows, x_stride vec4) by the `operand` slot; W (cols, 32 blocks) by the `weight` slot;
//           y (rows, y_stride)
// Types     x, y, sums f32
// Grid      (ceil(cols / 8 TN), ceil(rows / MT)) workgroups of 8 lanes, one subgroup
// Memory    none shared. WHOLE writes out the loop over a block: faster for up to 4 rows, too long for 8
// Requires  subgroups of 8 lanes or more; x zero beyond its width up to 32 blocks
// Error     |y - reference| <= (32 blocks) 2^-24 sum |w x|
// Gradient  d_x from linear/matmul_transposed_lane8; W is frozen
//
//# use linear/product
//# slot operand
//# slot weight_words
//# slot weight

struct Params {
    rows: u32,
    cols: u32,
    blocks: u32,
    x_stride: u32,
    y_stride: u32,
    y_offset: u32,
    bias_offset: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> bias: array<f32>;           // (cols), read if HAS_BIAS
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // (rows, y_stride)

const GROUPS: u32 = 32u / WEIGHT_GROUP;
const GROUP_QUADS: u32 = WEIGHT_GROUP / 4u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = tile.y * MT;
    let first_col = tile.x * 8u * TN + lane;
    var block0: array<u32, TN>;
    //# unroll
    for (var t = 0u; t < TN; t++) {
        block0[t] = min(first_col + 8u * t, params.cols - 1u) * params.blocks;
    }
    var x0: array<u32, MT>;
    //# unroll
    for (var m = 0u; m < MT; m++) {
        x0[m] = min(first_row + m, params.rows - 1u) * params.x_stride + lane;
    }
    var acc: array<f32, MT * TN>;
    for (var b = 0u; b < params.blocks; b++) {
        var xb: array<vec4f, MT>;
        var xsum: array<f32, MT>;
        //# unroll
        for (var m = 0u; m < MT; m++) {
            xb[m] = operand_at(x0[m] + 8u * b);
            var s = xb[m].x + xb[m].y + xb[m].z + xb[m].w;
            s += subgroupShuffleXor(s, 1u);
            s += subgroupShuffleXor(s, 2u);
            if WEIGHT_GROUP == 32u {
                s += subgroupShuffleXor(s, 4u);
            }
            xsum[m] = s;
        }
        var w: array<WeightBlock, TN>;
        //# unroll
        for (var t = 0u; t < TN; t++) {
            w[t] = weight_open(block0[t] + b);
        }
        //# unroll
        for (var g = 0u; g < GROUPS; g++) {
            var part: array<f32, MT * TN>;
            //# unroll WHOLE
            for (var j = 0u; j < GROUP_QUADS; j++) {
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
                //# unroll
                for (var t = 0u; t < TN; t++) {
                    q[t] = weight_quad(w[t], quad);
                }
                //# unroll
                for (var c = 0u; c < 4u; c++) {
                    //# unroll
                    for (var m = 0u; m < MT; m++) {
                        let xe = subgroupShuffle(xb[m][c], quad);
                        //# unroll
                        for (var t = 0u; t < TN; t++) {
                            part[m * TN + t] += xe * q[t][c];
                        }
                    }
                }
            }
            //# unroll
            for (var t = 0u; t < TN; t++) {
                let scale = weight_scale(w[t], g);
                //# unroll
                for (var m = 0u; m < MT; m++) {
                    acc[m * TN + t] += scale.x * part[m * TN + t] + scale.y * subgroupShuffle(xsum[m], 4u * g);
                }
            }
        }
    }
    //# unroll
    for (var m = 0u; m < MT; m++) {
        //# unroll
        for (var t = 0u; t < TN; t++) {
            store(first_row + m, first_col + 8u * t, acc[m * TN + t]);
        }
    }
}
