//! Root-mean-square normalisation, over whole rows and over attention heads.

/// Divides each row by its root mean square and multiplies by `gain`.
///
/// `y = gain * x / sqrt(mean(x^2) + eps)`, Zhang and Sennrich 2019, equation 4. A row whose sum of squares
/// exceeds f32 is NaN, as in the kernel: 0 would hide the overflow.
///
/// # Shapes
///
/// `x` and result `(m, width)`, `gain` `(width)`.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    assert_eq!(x.len() % gain.len(), 0, "x is not whole rows of {}", gain.len());
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(gain.len()) {
        let squares: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let fits = squares <= f64::from(f32::MAX);
        let scale = if fits { 1.0 / (squares / gain.len() as f64 + f64::from(eps)).sqrt() } else { f64::NAN };
        y.extend(row.iter().zip(gain).map(|(&v, &g)| (f64::from(v) * scale * f64::from(g)) as f32));
    }
    y
}

/// The gradient of [`rms_norm`] with respect to `x`, given the gradient with respect to its result.
///
/// With `s = 1 / sqrt(mean(x^2) + eps)`: `d_x = s (gain d_y - x s^2 mean(x gain d_y))`.
///
/// # Shapes
///
/// `x`, `d_y` and result `(m, width)`, `gain` `(width)`.
pub fn rms_norm_backward(x: &[f32], gain: &[f32], eps: f32, d_y: &[f32]) -> Vec<f32> {
    let width = gain.len();
    assert_eq!(x.len() % width, 0, "x is not whole rows of {width}");
    assert_eq!(x.len(), d_y.len(), "x and d_y differ in length");
    let mut d_x = Vec::with_capacity(x.len());
    for (x, d_y) in x.chunks_exact(width).zip(d_y.chunks_exact(width)) {
        let mean = |product: &dyn Fn(usize) -> f64| (0..width).map(product).sum::<f64>() / width as f64;
        let x = |i: usize| f64::from(x[i]);
        let d_normed = |i: usize| f64::from(gain[i]) * f64::from(d_y[i]);
        let square = 1.0 / (mean(&|i| x(i) * x(i)) + f64::from(eps));
        let along = mean(&|i| x(i) * d_normed(i));
        d_x.extend((0..width).map(|i| (square.sqrt() * (d_normed(i) - x(i) * square * along)) as f32));
    }
    d_x
}

/// Normalises every head of every row separately, as Qwen3 does for queries and keys.
///
/// # Shapes
///
/// `x` and result `(m, heads, head_dim)`, `gain` `(head_dim)`.
pub fn head_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    rms_norm(x, gain, eps)
}

/// The gradient of [`head_norm`] with respect to `x`.
///
/// # Shapes
///
/// `x`, `d_y` and result `(m, heads, head_dim)`, `gain` `(head_dim)`.
pub fn head_norm_backward(x: &[f32], gain: &[f32], eps: f32, d_y: &[f32]) -> Vec<f32> {
    rms_norm_backward(x, gain, eps, d_y)
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values, weighted_sum};
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_norms() {
        // An eps as large as the mean square, so that it matters.
        for (stream, width, eps) in [(1, 1, 0.3), (2, 7, 1e-5), (3, 12, 0.3)] {
            let (x, gain, d_y) =
                (values(stream, 3 * width), values(10 + stream, width), values(20 + stream, 3 * width));
            let gradient = rms_norm_backward(&x, &gain, eps, &d_y);
            assert_gradient(&x, &gradient, |x| weighted_sum(&d_y, &rms_norm(x, &gain, eps)));
            let gradient = head_norm_backward(&x, &gain, eps, &d_y);
            assert_gradient(&x, &gradient, |x| weighted_sum(&d_y, &head_norm(x, &gain, eps)));
        }
    }
}
