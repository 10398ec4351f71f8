// kv/read_f16: eight dimensions of a cached key or value, packed as f16 in one vec4<u32>.
//
//# provides kv_read

struct Chunk { lo: vec4f, hi: vec4f }

fn kv_unpack(words: vec4<u32>) -> Chunk {
    return Chunk(
        vec4f(unpack2x16float(words.x), unpack2x16float(words.y)),
        vec4f(unpack2x16float(words.z), unpack2x16float(words.w)),
    );
}

fn k_read(chunk: u32) -> Chunk {
    return kv_unpack(k_cache[chunk]);
}

fn v_read(chunk: u32) -> Chunk {
    return kv_unpack(v_cache[chunk]);
}
