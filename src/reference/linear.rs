//! Linear layers: `y = x W^T + bias + residual`, weights in f32 or in any stored format, and the
//! gradient by `x`.

/// Multiplies each row of `x` by `w`, and adds `bias` and `residual` if given.
///
/// # Shapes
///
/// `w` `(rows, cols)`; `x` `(m, cols)`; `bias` `(rows)`; `residual` and result `(m, rows)`.
pub fn linear(w: &[f32], cols: usize, x: &[f32], bias: Option<&[f32]>, residual: Option<&[f32]>) -> Vec<f32> {
    let rows = w.len() / cols;
    assert_eq!(w.len(), rows * cols, "w is not whole rows of {cols}");
    assert_eq!(x.len() % cols, 0, "x is not whole rows of {cols}");
    let mut y = Vec::with_capacity(x.len() / cols * rows);
    for (m, x) in x.chunks_exact(cols).enumerate() {
        for (n, w) in w.chunks_exact(cols).enumerate() {
            let mut sum: f64 = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
            sum += bias.map_or(0.0, |b| f64::from(b[n]));
            sum += residual.map_or(0.0, |r| f64::from(r[m * rows + n]));
            y.push(sum as f32);
        }
    }
    y
}

/// The gradient of [`linear`] by `x`: multiplies each row of `d_y` by the transpose of `w`, and adds
/// `residual` if given. Weights are frozen and have no gradient.
///
/// # Shapes
///
/// `w` `(rows, cols)`; `d_y` `(m, rows)`; `residual` and result `(m, cols)`.
pub fn linear_backward(w: &[f32], cols: usize, d_y: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
    let rows = w.len() / cols;
    assert_eq!(w.len(), rows * cols, "w is not whole rows of {cols}");
    assert_eq!(d_y.len() % rows, 0, "d_y is not whole rows of {rows}");
    let mut d_x = Vec::with_capacity(d_y.len() / rows * cols);
    for (m, d_y) in d_y.chunks_exact(rows).enumerate() {
        let mut sums: Vec<f64> = match residual {
            Some(residual) => residual[m * cols..][..cols].iter().map(|&r| f64::from(r)).collect(),
            None => vec![0.0; cols],
        };
        for (w, &d_y) in w.chunks_exact(cols).zip(d_y) {
            for (sum, &w) in sums.iter_mut().zip(w) {
                *sum += f64::from(d_y) * f64::from(w);
            }
        }
        d_x.extend(sums.iter().map(|&sum| sum as f32));
    }
    d_x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loss is `sum d_y * linear(x)`. It is linear in `x`, so a step as large as the values is
    /// exact, except for the rounding of `y`.
    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (m, rows, cols) = (3, 5, 7);
        let values = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 37 + seed * 11) % 41) as f32 / 20.0 - 1.0).collect()
        };
        let (w, bias) = (values(rows * cols, 1), values(rows, 2));
        let (x, d_y) = (values(m * cols, 3), values(m * rows, 4));
        let loss = |x: &[f32]| -> f64 {
            let y = linear(&w, cols, x, Some(&bias), None);
            y.iter().zip(&d_y).map(|(&y, &d_y)| f64::from(y) * f64::from(d_y)).sum()
        };
        let residual = values(m * cols, 5);
        let d_x = linear_backward(&w, cols, &d_y, None);
        let added = linear_backward(&w, cols, &d_y, Some(&residual));
        for i in 0..x.len() {
            let moved = |step: f32| {
                let mut x = x.clone();
                x[i] += step;
                loss(&x)
            };
            let slope = (moved(1.0) - moved(-1.0)) / 2.0;
            assert!((f64::from(d_x[i]) - slope).abs() < 1e-6, "element {i}: {}, slope {slope}", d_x[i]);
            assert!((added[i] - d_x[i] - residual[i]).abs() < 1e-6, "element {i}: {}", added[i]);
        }
    }
}
