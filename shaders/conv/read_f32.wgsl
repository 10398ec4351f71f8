// conv/read_f32: four columns of a cached input, as f32.
//
//# provides conv_read

fn u_read(quad: u32) -> vec4f {
    return bitcast<vec4f>(u_cache[quad]);
}
