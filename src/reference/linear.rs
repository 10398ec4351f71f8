//! Linear layers: `y = x W^T + bias + residual`, weights in f32 or in any stored format.

/// Multiplies each row of `x` by `w`, and adds what is given.
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
