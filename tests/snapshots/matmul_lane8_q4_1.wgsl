const MT: u32 = 1u;
const TN: u32 = 2u;
const WHOLE: u32 = 1u;
const HAS_BIAS: u32 = 0u;
const ADD: u32 = 0u;
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
// read/operand_texture: the rows that a product multiplies by a weight, from a texture of their bits.
//
// lib/texel: the place of a vec4 in a texture that holds a buffer, row by row.

// Texels per row; the host's `gpu::Texture` has the same number.
const TEXELS: u32 = 1024u;

fn texel(index: u32) -> vec2u {
    return vec2u(index % TEXELS, index / TEXELS);
}

@group(0) @binding(3) var operand: texture_2d<u32>;

fn operand_at(index: u32) -> vec4f {
    return bitcast<vec4f>(textureLoad(operand, texel(index), 0));
}
// read/weight_texture: the words of a quantized matrix, from textures.
//

@group(0) @binding(1) var w_quants: texture_2d<u32>;
@group(0) @binding(2) var w_scales: texture_2d<u32>; // four words a texel

fn quants_at(index: u32) -> vec4u {
    return textureLoad(w_quants, texel(index), 0);
}

fn scales_at(index: u32) -> u32 {
    return textureLoad(w_scales, texel(index / 4u), 0)[index % 4u];
}
// weight/q4_1: reads 4-bit weights with a scale and an offset: weight = d * q + m.
//
// Layout    w_quants: 1 vec4 a block (nibble quads); w_scales: 1 word a block, f16 d low, f16 m high
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     d * q is exact; the sum is rounded once
//

const WEIGHT_GROUP: u32 = 32u;

struct WeightBlock {
    q: vec4u,
    scale: vec2f, // d, m
}

fn weight_open(block: u32) -> WeightBlock {
    return WeightBlock(quants_at(block), unpack2x16float(scales_at(block)));
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    return vec4f(unpack4xU8((w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    return w.scale;
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
@group(0) @binding(4) var<storage, read> bias: array<f32>;           // (cols), read if HAS_BIAS
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // (rows, y_stride)

const GROUPS: u32 = 32u / WEIGHT_GROUP;
const GROUP_QUADS: u32 = WEIGHT_GROUP / 4u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = tile.y * MT;
    let first_col = tile.x * 8u * TN + lane;
    var block0: array<u32, TN>;
{ const t: u32 = 0u;
        block0[t] = min(first_col + 8u * t, params.cols - 1u) * params.blocks;
}
{ const t: u32 = 1u;
        block0[t] = min(first_col + 8u * t, params.cols - 1u) * params.blocks;
}
    var x0: array<u32, MT>;
{ const m: u32 = 0u;
        x0[m] = min(first_row + m, params.rows - 1u) * params.x_stride + lane;
}
    var acc: array<f32, MT * TN>;
    for (var b = 0u; b < params.blocks; b++) {
        var xb: array<vec4f, MT>;
        var xsum: array<f32, MT>;
{ const m: u32 = 0u;
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
{ const t: u32 = 0u;
            w[t] = weight_open(block0[t] + b);
}
{ const t: u32 = 1u;
            w[t] = weight_open(block0[t] + b);
}
{ const g: u32 = 0u;
            var part: array<f32, MT * TN>;
{ const j: u32 = 0u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 1u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 2u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 3u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 4u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 5u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 6u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const j: u32 = 7u;
                let quad = g * GROUP_QUADS + j;
                var q: array<vec4f, TN>;
{ const t: u32 = 0u;
                    q[t] = weight_quad(w[t], quad);
}
{ const t: u32 = 1u;
                    q[t] = weight_quad(w[t], quad);
}
{ const c: u32 = 0u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 1u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 2u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
{ const c: u32 = 3u;
{ const m: u32 = 0u;
                        let xe = subgroupShuffle(xb[m][c], quad);
{ const t: u32 = 0u;
                            part[m * TN + t] += xe * q[t][c];
}
{ const t: u32 = 1u;
                            part[m * TN + t] += xe * q[t][c];
}
}
}
}
{ const t: u32 = 0u;
                let scale = weight_scale(w[t], g);
{ const m: u32 = 0u;
                    acc[m * TN + t] += scale.x * part[m * TN + t] + scale.y * subgroupShuffle(xsum[m], 4u * g);
}
}
{ const t: u32 = 1u;
                let scale = weight_scale(w[t], g);
{ const m: u32 = 0u;
                    acc[m * TN + t] += scale.x * part[m * TN + t] + scale.y * subgroupShuffle(xsum[m], 4u * g);
}
}
}
    }
{ const m: u32 = 0u;
{ const t: u32 = 0u;
            store(first_row + m, first_col + 8u * t, acc[m * TN + t]);
}
{ const t: u32 = 1u;
            store(first_row + m, first_col + 8u * t, acc[m * TN + t]);
}
}
}
