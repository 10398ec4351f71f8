// kv/pack_f32: four values as they are.
//
// Infinities become NaN, so that they reach the logits: an infinite key would only hide its position from attention.

fn kv_bits(values: vec4f) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(values);
    return select(bits, vec4<u32>(0x7fc00000u), (bits & vec4<u32>(0x7fffffffu)) >= vec4<u32>(0x7f800000u));
}
