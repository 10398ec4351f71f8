// kv/write_f16: stores eight dimensions of a key or value, rounded to f16.
//
// What f16 cannot hold is stored as NaN, whatever the driver's conversion makes of it, so that it
// reaches the logits: an infinite key would only hide its position from attention.
//
//# provides kv_write

// Bits of the largest float that rounds to a finite f16, 65519.996.
const LARGEST_BITS: u32 = 0x477fefffu;

fn pack_pair(pair: vec2f) -> u32 {
    let beyond = (bitcast<vec2<u32>>(pair) & vec2<u32>(0x7fffffffu)) > vec2<u32>(LARGEST_BITS);
    let nan = select(vec2<u32>(0u), vec2<u32>(0x7e00u, 0x7e000000u), beyond);
    return pack2x16float(select(pair, vec2f(0.0), beyond)) | nan.x | nan.y;
}

fn kv_pack(lo: vec4f, hi: vec4f) -> vec4<u32> {
    return vec4<u32>(pack_pair(lo.xy), pack_pair(lo.zw), pack_pair(hi.xy), pack_pair(hi.zw));
}

fn k_write(chunk: u32, lo: vec4f, hi: vec4f) {
    k_cache[chunk] = kv_pack(lo, hi);
}

fn v_write(chunk: u32, lo: vec4f, hi: vec4f) {
    v_cache[chunk] = kv_pack(lo, hi);
}
