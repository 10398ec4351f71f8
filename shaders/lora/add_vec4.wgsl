// lora/add_vec4: adds to four columns of y at once, where every part begins at a multiple of four.
//
//# provides add

alias Element = vec4f;

// Adds to columns `at` to `at + 3`, of which `left` belong to the part; the others are zeros and stay.
fn y_add(at: u32, left: u32, value: vec4f) {
    let kept = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(left);
    y[at / 4u] += select(vec4f(), value, kept);
}
