// conv/filter: the filter over the inputs of a row's own position and of those before it.
//
// Requires  params and taps as the kernel declares them: (TAPS + 1, taps_stride vec4), the earliest position's tap
//           first, the bias last; u_read by the `conv_read` slot; the constant TAPS
//
//# use kv/place

// Quads of one position of the cache.
fn position_quads() -> u32 {
    return 2u * ((params.width + 7u) / 8u);
}

// The quads of tap `tap`, or of the bias.
fn tap_at(tap: u32, quad: u32) -> vec4f {
    return taps[tap * params.taps_stride + quad];
}

// The filtered columns 4 quad .. 4 quad + 4. Positions before the first of the sequence count as 0.
fn filtered(span: Span, position: u32, quad: u32) -> vec4f {
    var sum = tap_at(TAPS, quad);
    for (var tap = 0u; tap < TAPS; tap++) {
        let back = TAPS - 1u - tap;
        if back <= position {
            sum += tap_at(tap, quad) * u_read(place(span, position - back) * position_quads() + quad);
        }
    }
    return sum;
}
