// linear/product: the epilogue of y = x W^T (+ bias) (+ y), which all its kernels share.
//
// Requires  params, bias and y as the kernel declares them; constants HAS_BIAS and ADD

// Stores one element of the product; elements outside the matrix are dropped.
fn store(row: u32, col: u32, product: f32) {
    if row < params.rows && col < params.cols {
        var value = product;
        if HAS_BIAS != 0u {
            value += bias[params.bias_offset + col];
        }
        let at = row * params.y_stride + params.y_offset + col;
        if ADD != 0u {
            value += y[at];
        }
        y[at] = value;
    }
}
