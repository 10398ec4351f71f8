// lora/read_vec4: four columns of x at once, where every part begins at a multiple of four.
//
//# provides read

alias Element = vec4f;

// Columns `at` to `at + 3`; a part that ends between them is the last, and zeros follow.
fn x_read(at: u32, left: u32) -> vec4f {
    return x[at / 4u];
}
