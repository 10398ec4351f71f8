// attention/keys: positions of a head's keys and values in the cache, and the keys that a row attends to.
//
// Requires  params as the kernel declares it; the constants HEAD_DIM and CAP, 1 if scores are capped
//
//# use kv/place

const CHUNKS: u32 = (HEAD_DIM + 7u) / 8u;
const BLOCKS: u32 = (HEAD_DIM + 31u) / 32u;

// The score of a key that a row does not attend to; below every real score.
const NEVER: f32 = -1e30;

// First chunk of one head's key or value at a place of the cache.
fn cached(place: u32, kv_head: u32) -> u32 {
    return (place * params.kv_heads + kv_head) * CHUNKS;
}

// A score below the cap in size: cap tanh(score / cap). Beyond 15 the hyperbolic tangent is 1 in f32, and some drivers'
// is not a number.
fn capped(score: f32) -> f32 {
    if CAP == 0u {
        return score;
    }
    return params.cap * tanh(clamp(score / params.cap, -15.0, 15.0));
}

// Derivative of `capped`, from its value.
fn cap_slope(capped: f32) -> f32 {
    if CAP == 0u {
        return 1.0;
    }
    let share = capped / params.cap;
    return 1.0 - share * share;
}

// Whether a row at `position` sees `key`.
fn sees(position: u32, key: u32) -> bool {
    return key <= position && (params.window == 0u || key + params.window > position);
}

// First key that a row at `position` may see, down to a multiple of `step`: tiles of keys start at the
// same places for all rows.
fn first_tile(position: u32, step: u32) -> u32 {
    if params.window == 0u || position < params.window {
        return 0u;
    }
    return (position - params.window + 1u) / step * step;
}
