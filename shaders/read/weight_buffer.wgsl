// read/weight_buffer: the words of a quantized matrix, from storage buffers.
//
//# provides weight_words

@group(0) @binding(1) var<storage, read> w_quants: array<vec4u>;
@group(0) @binding(2) var<storage, read> w_scales: array<u32>;

fn quants_at(index: u32) -> vec4u {
    return w_quants[index];
}

fn scales_at(index: u32) -> u32 {
    return w_scales[index];
}
