// conv/read_f16: four columns of a cached input, packed as f16 in half a vec4<u32>.
//
//# provides conv_read

fn u_read(quad: u32) -> vec4f {
    let words = u_cache[quad / 2u];
    let half = select(words.xy, words.zw, quad % 2u == 1u);
    return vec4f(unpack2x16float(half.x), unpack2x16float(half.y));
}
