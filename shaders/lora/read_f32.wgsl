// lora/read_f32: four columns of x one by one, where a part begins anywhere (odd head widths).
//
//# provides read

alias Element = f32;

// Columns `at` to `at + 3`, of which `left` belong to the part; zeros for the others.
fn x_read(at: u32, left: u32) -> vec4f {
    var value = vec4f();
    //# unroll
    for (var c = 0u; c < 4u; c++) {
        if c < left {
            value[c] = x[at + c];
        }
    }
    return value;
}
