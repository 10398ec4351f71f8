// read/operand_buffer: the rows that a product multiplies by a weight, from a storage buffer.
//
//# provides operand

@group(0) @binding(3) var<storage, read> operand: array<vec4f>;

fn operand_at(index: u32) -> vec4f {
    return operand[index];
}
