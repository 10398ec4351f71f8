// kv/pack_f16: eight values as f16 in one vec4<u32>.
//
// What f16 cannot hold becomes NaN, whatever the driver's conversion makes of it, so that it reaches the logits: an
// infinite key would only hide its position from attention.

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
