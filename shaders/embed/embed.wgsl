// embed/embed: y[row] = factor table[ids[row]], decoded.
//
// Shapes    ids (rows); table (table_rows, 32 blocks) by the `weight` slot, holding token ids from
//           first_id on; y (rows, y_stride vec4)
// Types     y f32
// Grid      one lane per block of 32, (ceil(blocks / WG), rows)
// Requires  a table in several parts runs once per part: ids outside the part are left alone
// Error     exact if factor is 1
// Gradient  none, the table is frozen
//
//# slot weight_words
//# slot weight

struct Params {
    rows: u32,
    blocks: u32,
    y_stride: u32,
    first_id: u32,
    table_rows: u32,
    factor: f32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> ids: array<u32>;            // (rows)
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;      // (rows, y_stride)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = workgroup.x * WG + local;
    let row = workgroup.y;
    let id = ids[row] - params.first_id;
    if block < params.blocks && id < params.table_rows {
        let w = weight_open(id * params.blocks + block);
        for (var j = 0u; j < 8u; j++) {
            let scale = weight_scale(w, 4u * j / WEIGHT_GROUP);
            y[row * params.y_stride + block * 8u + j] = params.factor * (scale.x * weight_quad(w, j) + scale.y);
        }
    }
}
