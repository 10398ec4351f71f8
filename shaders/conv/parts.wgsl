// conv/parts: the three parts of a row of a short convolution's first projection: B, C and x.
//
// Requires  bcx (rows, x_stride vec4) and params as the kernel declares them; the constant SPLIT, 1 where the width is
//           no multiple of 4, and so the parts begin inside a vec4

// Columns 4 quad .. 4 quad + 4 of part `which` of a row: 0 for B, 1 for C, 2 for x; zero beyond the width.
fn part(row: u32, which: u32, quad: u32) -> vec4f {
    var values = vec4f(0.0);
    if 4u * quad >= params.width {
        return values;
    }
    let first = row * params.x_stride;
    if SPLIT == 0u {
        return bcx[first + which * (params.width / 4u) + quad];
    }
    for (var i = 0u; i < 4u; i++) {
        let column = 4u * quad + i;
        if column < params.width {
            let at = which * params.width + column;
            values[i] = bcx[first + at / 4u][at % 4u];
        }
    }
    return values;
}
