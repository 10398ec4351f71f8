// conv/write_f16: stores eight columns of an input, rounded to f16.
//
//# provides conv_write
//# use kv/pack_f16

fn u_write(chunk: u32, lo: vec4f, hi: vec4f) {
    u_cache[chunk] = kv_pack(lo, hi);
}
