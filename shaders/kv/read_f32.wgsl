// kv/read_f32: eight dimensions of a cached key or value, as f32 in two vec4<u32>.
//
//# provides kv_read

struct Chunk { lo: vec4f, hi: vec4f }

fn k_read(chunk: u32) -> Chunk {
    return Chunk(bitcast<vec4f>(k_cache[2u * chunk]), bitcast<vec4f>(k_cache[2u * chunk + 1u]));
}

fn v_read(chunk: u32) -> Chunk {
    return Chunk(bitcast<vec4f>(v_cache[2u * chunk]), bitcast<vec4f>(v_cache[2u * chunk + 1u]));
}
