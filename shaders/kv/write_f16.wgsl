// kv/write_f16: stores eight dimensions of a key or value, rounded to f16.
//
//# provides kv_write
//# use kv/pack_f16

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[chunk] = kv_pack(lo, hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[chunk] = kv_pack(lo, hi);
}
