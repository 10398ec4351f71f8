const MT: u32 = 1u;
const WG: u32 = 128u;
const GROUP_LANES: u32 = 16u;
const HAS_BIAS: u32 = 0u;
const ADD: u32 = 0u;
// linear/matvec_tiled: y = x W^T (+ bias) (+ y) for MT rows of x at most: GROUP_LANES lanes share one
// output, each taking every GROUP_LANES-th block of 32, so that neighbours read neighbouring weights.
//
// Shapes    x (rows, x_stride vec4); W (cols, 32 blocks) by the `weight` slot; y (rows, y_stride)
// Types     x, y, sums f32
// Grid      (ceil(cols GROUP_LANES / WG), ceil(rows / MT)) workgroups of WG lanes
// Memory    in the `reduce` slot
// Requires  x zero beyond its width up to 32 blocks
// Error     |y - reference| <= (32 blocks / GROUP_LANES + log2(GROUP_LANES)) 2^-24 sum |w x|
// Gradient  d_x from linear/matmul_transposed_tiled; W is frozen
//
// linear/product: the epilogue of y = x W^T (+ bias) (+ y), which all its kernels share.
//
// Requires  params, bias and y as the kernel declares them; constants HAS_BIAS and ADD

// Stores one element of the product; elements outside the matrix are dropped.
fn store(row: u32, col: u32, product: f32) {
    if row < params.rows && col < params.cols {
        var value = product;
        if HAS_BIAS != 0u {
            value += bias[params.bias_offset + col];
        }
        let at = row * params.y_stride + params.y_offset + col;
        if ADD != 0u {
            value += y[at];
        }
        y[at] = value;
    }
}
// read/weight_buffer: the words of a quantized matrix, from storage buffers.
//

@group(0) @binding(1) var<storage, read> w_quants: array<vec4u>;
@group(0) @binding(2) var<storage, read> w_scales: array<u32>;

fn quants_at(index: u32) -> vec4u {
    return w_quants[index];
}

fn scales_at(index: u32) -> u32 {
    return w_scales[index];
}
// weight/q4_k: reads 4-bit weights with two-level scales: weight = d * scale * q - dmin * min.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 5 words for 8 blocks: f16 d low and f16 dmin high, then bytes scale, min of
//           each block
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     the products are exact; the difference is rounded once
//

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    scale: vec2f, // d * scale, -dmin * min
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 5u;
    let d = unpack2x16float(scales_at(first));
    let both = scales_at(first + 1u + ((block >> 1u) & 3u)) >> ((block & 1u) * 16u);
    let scale = vec2f(f32(both & 0xFFu), -f32((both >> 8u) & 0xFFu));
    return WeightBlock(quants_at(block), d * scale);
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    return vec4f(unpack4xU8((w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return w.scale;
}
// reduce/workgroup: sums and maxima over aligned groups of GROUP_LANES lanes, through workgroup
// memory. Needs no subgroups. Every lane of the workgroup must call.
//
// Memory    4 WG bytes of workgroup memory
//

const_assert GROUP_LANES <= WG && (GROUP_LANES & (GROUP_LANES - 1u)) == 0u;

var<workgroup> reduce_scratch: array<f32, WG>;

fn group_sum(value: f32, local: u32) -> f32 {
    reduce_scratch[local] = value;
    workgroupBarrier();
    for (var step = GROUP_LANES / 2u; step > 0u; step /= 2u) {
        if local % GROUP_LANES < step {
            reduce_scratch[local] += reduce_scratch[local + step];
        }
        workgroupBarrier();
    }
    let sum = reduce_scratch[local - local % GROUP_LANES];
    workgroupBarrier();
    return sum;
}

fn group_max(value: f32, local: u32) -> f32 {
    reduce_scratch[local] = value;
    workgroupBarrier();
    for (var step = GROUP_LANES / 2u; step > 0u; step /= 2u) {
        if local % GROUP_LANES < step {
            reduce_scratch[local] = max(reduce_scratch[local], reduce_scratch[local + step]);
        }
        workgroupBarrier();
    }
    let largest = reduce_scratch[local - local % GROUP_LANES];
    workgroupBarrier();
    return largest;
}

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
@group(0) @binding(3) var<storage, read> x: array<vec4f>;            // (rows, x_stride)
@group(0) @binding(4) var<storage, read> bias: array<f32>;           // (cols), read if HAS_BIAS
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let col = tile.x * (WG / GROUP_LANES) + local / GROUP_LANES;
    let row0 = tile.y * MT;
    let block0 = min(col, params.cols - 1u) * params.blocks;
    var acc: array<f32, MT>;
    for (var b = local % GROUP_LANES; b < params.blocks; b += GROUP_LANES) {
        let w = weight_open(block0 + b);
        for (var j = 0u; j < 8u; j++) {
            let scale = weight_scale(w, 4u * j / WEIGHT_GROUP);
            let quad = scale.x * weight_quad(w, j) + scale.y;
            for (var m = 0u; m < MT; m++) {
                acc[m] += dot(quad, x[min(row0 + m, params.rows - 1u) * params.x_stride + 8u * b + j]);
            }
        }
    }
    for (var m = 0u; m < MT; m++) {
        let sum = group_sum(acc[m], local);
        if local % GROUP_LANES == 0u {
            store(row0 + m, col, sum);
        }
    }
}
