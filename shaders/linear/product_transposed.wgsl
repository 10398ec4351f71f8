// linear/product_transposed: the epilogue of d_x = d_y W (+ d_x), which all its kernels share.
//
// Requires  params and d_x as the kernel declares them

// Stores four columns of one row of the product. Rows outside the matrix are dropped; columns
// beyond its width are stored as zeros, also where d_y holds infinities.
fn store(row: u32, quad: u32, product: vec4f) {
    if row < params.rows && quad < 8u * params.blocks {
        let at = (params.x_row + row) * params.x_stride + quad;
        var value = product;
        if params.adds != 0u {
            value += d_x[at];
        }
        d_x[at] = select(vec4f(), value, 4u * quad + vec4u(0u, 1u, 2u, 3u) < vec4u(params.inputs));
    }
}
