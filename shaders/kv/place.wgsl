// kv/place: where the positions of a row's sequence are in the cache.

// Positions below `prefix_len`, which several sequences have in common, are at `prefix` + position, the others at
// `base` + position.
struct Span {
    base: u32,
    prefix: u32,
    prefix_len: u32,
}

// The place of `position` in the cache.
fn place(span: Span, position: u32) -> u32 {
    return select(span.base, span.prefix, position < span.prefix_len) + position;
}
