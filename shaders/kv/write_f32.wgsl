// kv/write_f32: stores eight dimensions of a key or value as they are.
//
//# provides kv_write

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[2u * chunk] = bitcast<vec4<u32>>(lo);
    k_cache[2u * chunk + 1u] = bitcast<vec4<u32>>(hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[2u * chunk] = bitcast<vec4<u32>>(lo);
    v_cache[2u * chunk + 1u] = bitcast<vec4<u32>>(hi);
}
