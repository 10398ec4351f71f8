// read/weight_texture: the words of a quantized matrix, from textures.
//
//# use lib/texel
//# provides weight_words

@group(0) @binding(1) var w_quants: texture_2d<u32>;
@group(0) @binding(2) var w_scales: texture_2d<u32>; // four words a texel

fn quants_at(index: u32) -> vec4u {
    return textureLoad(w_quants, texel(index), 0);
}

fn scales_at(index: u32) -> u32 {
    return textureLoad(w_scales, texel(index / 4u), 0)[index % 4u];
}
