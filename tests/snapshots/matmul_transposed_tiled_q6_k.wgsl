// linear/matmul_transposed_tiled: d_x = d_y W (+ d_x), a tile of 64 rows by 64 columns per workgroup.
//
// In each step of 32 columns of d_y, 128 lanes bring these in, transposed, and 128 lanes decode 32
// rows of W, whose layout fits: the sum runs over W's rows. Both operands of a lane's 4 by
// 4 outer product are one vec4 each. Loops within a step are unrolled, so that the rounds over a vocabulary of
// 262144 stay below the 65535 after which llvmpipe ends a shader.
//
// Shapes    d_y (rows, y_stride vec4); W (outputs, 32 blocks) by the `weight` slot, for columns first..
//           of d_y; d_x (rows, x_stride vec4)
// Types     d_y, d_x, sums f32
// Grid      (ceil(blocks / 2), ceil(rows / 64)) workgroups of 256 lanes
// Memory    16 KiB of workgroup memory, all that a phone promises
// Requires  neither subgroups nor f16; d_y finite up to the next multiple of 32 columns
// Error     |d_x - reference| <= (outputs + 3) 2^-24 sum |d_y w|
// Gradient  this is one: of linear/matmul_tiled and linear/matvec_tiled by x
//
// linear/product_transposed: the epilogue of d_x = d_y W (+ d_x), which all its kernels share.
//
// Requires  params and d_x as the kernel declares them

// Stores four columns of one row of the product. Rows outside the matrix are dropped; columns
// beyond its width are stored as zeros, also where d_y holds infinities.
fn store(row: u32, quad: u32, product: vec4f) {
    if row < params.rows && quad < 8u * params.blocks {
        let at = (params.x_row + row) * params.x_stride + quad;
        var value = product;
        if params.adds != 0u {
            value += d_x[at];
        }
        d_x[at] = select(vec4f(), value, 4u * quad + vec4u(0u, 1u, 2u, 3u) < vec4u(params.inputs));
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
// weight/q6_k: reads 6-bit weights with two-level scales: weight = d * scale * q - 32 d * scale.
//
// Layout    w_quants: 1 vec4 a block (nibble quads)
//           w_scales: 21 words for 8 blocks: f16 d, then a signed byte for each 16 weights (4
//           words), then the upper 2 bits of each block (16 words, 2-bit quads)
// Requires  quants_at and scales_at, from the `weight_words` slot
// Error     exact: every term and the difference fit in an f32
//

const WEIGHT_GROUP: u32 = 16u;

struct WeightBlock {
    q: vec4u,
    high: vec2u, // upper 2 bits
    scale: vec2f, // of group 0 and of group 1
}

fn weight_open(block: u32) -> WeightBlock {
    let first = (block >> 3u) * 21u;
    let high = first + 5u + (block & 7u) * 2u;
    let scales = unpack4xI8(scales_at(first + 1u + ((block >> 1u) & 3u)));
    return WeightBlock(
        quants_at(block),
        vec2u(scales_at(high), scales_at(high + 1u)),
        unpack2x16float(scales_at(first)).x * vec2f(select(scales.xy, scales.zw, (block & 1u) != 0u)),
    );
}

fn weight_quad(w: WeightBlock, j: u32) -> vec4f {
    let low = (w.q[j & 3u] >> (j & 4u)) & 0x0F0F0F0Fu;
    let high = (w.high[j >> 2u] >> ((j & 3u) * 2u)) & 0x03030303u;
    return vec4f(unpack4xU8(low | (high << 4u)));
}

fn weight_scale(w: WeightBlock, group: u32) -> vec2f {
    let scale = w.scale[group & 1u];
    return vec2f(scale, -32.0 * scale);
}

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
@group(0) @binding(3) var<storage, read> d_y: array<vec4f>;          // (rows, y_stride)
@group(0) @binding(4) var<storage, read_write> d_x: array<vec4f>;    // (rows, x_stride)

var<workgroup> y_tile: array<vec4f, 512>;   // (32 deep, 64 rows)
var<workgroup> w_tile: array<vec4f, 512>;   // (32 deep, 64 columns)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row0 = tile.y * 64u;
    let in_y = local < 128u;
    let index = local % 128u;
    let tx = local % 16u;
    let ty = local / 16u;
    var acc: array<vec4f, 4>;
    let end = (params.first + params.outputs + 31u) / 32u;
    for (var step = params.first / 32u; step < end; step++) {
        var quads: mat4x4f;
        if in_y {
            // Four rows by four columns of d_y.
{ const i: u32 = 0u;
                let row = min(row0 + 4u * (index % 16u) + i, params.rows - 1u);
                quads[i] = d_y[row * params.y_stride + 8u * step + index / 16u];
}
{ const i: u32 = 1u;
                let row = min(row0 + 4u * (index % 16u) + i, params.rows - 1u);
                quads[i] = d_y[row * params.y_stride + 8u * step + index / 16u];
}
{ const i: u32 = 2u;
                let row = min(row0 + 4u * (index % 16u) + i, params.rows - 1u);
                quads[i] = d_y[row * params.y_stride + 8u * step + index / 16u];
}
{ const i: u32 = 3u;
                let row = min(row0 + 4u * (index % 16u) + i, params.rows - 1u);
                quads[i] = d_y[row * params.y_stride + 8u * step + index / 16u];
}
            quads = transpose(quads);
        } else {
            // Half a block of one row of W. Columns of d_y in front of the first wrap around.
            let n = 32u * step + index / 4u - params.first;
            let block = min(2u * tile.x + index % 4u / 2u, params.blocks - 1u);
            let w = weight_open(min(n, params.outputs - 1u) * params.blocks + block);
{ const i: u32 = 0u;
                let quad = 4u * (index % 2u) + i;
                let scale = select(vec2f(), weight_scale(w, 4u * quad / WEIGHT_GROUP), n < params.outputs);
                quads[i] = scale.x * weight_quad(w, quad) + scale.y;
}
{ const i: u32 = 1u;
                let quad = 4u * (index % 2u) + i;
                let scale = select(vec2f(), weight_scale(w, 4u * quad / WEIGHT_GROUP), n < params.outputs);
                quads[i] = scale.x * weight_quad(w, quad) + scale.y;
}
{ const i: u32 = 2u;
                let quad = 4u * (index % 2u) + i;
                let scale = select(vec2f(), weight_scale(w, 4u * quad / WEIGHT_GROUP), n < params.outputs);
                quads[i] = scale.x * weight_quad(w, quad) + scale.y;
}
{ const i: u32 = 3u;
                let quad = 4u * (index % 2u) + i;
                let scale = select(vec2f(), weight_scale(w, 4u * quad / WEIGHT_GROUP), n < params.outputs);
                quads[i] = scale.x * weight_quad(w, quad) + scale.y;
}
        }
        workgroupBarrier();
{ const i: u32 = 0u;
            if in_y {
                y_tile[(4u * (index / 16u) + i) * 16u + index % 16u] = quads[i];
            } else {
                w_tile[4u * index + i] = quads[i];
            }
}
{ const i: u32 = 1u;
            if in_y {
                y_tile[(4u * (index / 16u) + i) * 16u + index % 16u] = quads[i];
            } else {
                w_tile[4u * index + i] = quads[i];
            }
}
{ const i: u32 = 2u;
            if in_y {
                y_tile[(4u * (index / 16u) + i) * 16u + index % 16u] = quads[i];
            } else {
                w_tile[4u * index + i] = quads[i];
            }
}
{ const i: u32 = 3u;
            if in_y {
                y_tile[(4u * (index / 16u) + i) * 16u + index % 16u] = quads[i];
            } else {
                w_tile[4u * index + i] = quads[i];
            }
}
        workgroupBarrier();
        // A separate sum for every 32 terms: one sum over a whole vocabulary would lose four digits.
        var part: array<vec4f, 4>;
        for (var k0 = 0u; k0 < 32u; k0 += 8u) {
{ const c: u32 = 0u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 1u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 2u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 3u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 4u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 5u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 6u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
{ const c: u32 = 7u;
                let yv = y_tile[(k0 + c) * 16u + ty];
                let wv = w_tile[(k0 + c) * 16u + tx];
                part[0] += yv.x * wv;
                part[1] += yv.y * wv;
                part[2] += yv.z * wv;
                part[3] += yv.w * wv;
}
        }
{ const i: u32 = 0u;
            acc[i] += part[i];
}
{ const i: u32 = 1u;
            acc[i] += part[i];
}
{ const i: u32 = 2u;
            acc[i] += part[i];
}
{ const i: u32 = 3u;
            acc[i] += part[i];
}
    }
    for (var i = 0u; i < 4u; i++) {
        store(row0 + 4u * ty + i, 16u * tile.x + tx, acc[i]);
    }
}
