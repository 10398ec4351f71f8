// kv/write_f32: stores eight dimensions of a key or value as they are.
//
// Infinities are stored as NaN, so that they reach the logits: an infinite key would only hide its
// position from attention.
//
//# provides kv_write

fn kv_bits(values: vec4f) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(values);
    return select(bits, vec4<u32>(0x7fc00000u), (bits & vec4<u32>(0x7fffffffu)) >= vec4<u32>(0x7f800000u));
}

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[2u * chunk] = kv_bits(lo);
    k_cache[2u * chunk + 1u] = kv_bits(hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[2u * chunk] = kv_bits(lo);
    v_cache[2u * chunk + 1u] = kv_bits(hi);
}
