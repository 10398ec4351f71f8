// kv/write_f32: stores eight dimensions of a key or value as they are.
//
//# provides kv_write
//# use kv/pack_f32

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[2u * chunk] = kv_bits(lo);
    k_cache[2u * chunk + 1u] = kv_bits(hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[2u * chunk] = kv_bits(lo);
    v_cache[2u * chunk + 1u] = kv_bits(hi);
}
