// conv/write_f32: stores eight columns of an input as they are.
//
//# provides conv_write
//# use kv/pack_f32

fn u_write(chunk: u32, lo: vec4f, hi: vec4f) {
    u_cache[2u * chunk] = kv_bits(lo);
    u_cache[2u * chunk + 1u] = kv_bits(hi);
}
