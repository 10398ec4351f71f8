// kv/write_f16: stores eight dimensions of a key or value, rounded to f16.
//
//# provides kv_write

fn kv_pack(lo: vec4f, hi: vec4f) -> vec4<u32> {
    return vec4<u32>(pack2x16float(lo.xy), pack2x16float(lo.zw), pack2x16float(hi.xy), pack2x16float(hi.zw));
}

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[chunk] = kv_pack(lo, hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[chunk] = kv_pack(lo, hi);
}
