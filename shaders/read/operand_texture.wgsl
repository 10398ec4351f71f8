// read/operand_texture: the rows that a product multiplies by a weight, from a texture of their bits.
//
//# use lib/texel
//# provides operand

@group(0) @binding(3) var operand: texture_2d<u32>;

fn operand_at(index: u32) -> vec4f {
    return bitcast<vec4f>(textureLoad(operand, texel(index), 0));
}
