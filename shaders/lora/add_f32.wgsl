// lora/add_f32: adds to four columns of y one by one, where a part begins anywhere (odd head widths).
//
//# provides add

alias Element = f32;

// Adds to columns `at` to `at + 3`, of which `left` belong to the part.
fn y_add(at: u32, left: u32, value: vec4f) {
    //# unroll
    for (var c = 0u; c < 4u; c++) {
        if c < left {
            y[at + c] += value[c];
        }
    }
}
