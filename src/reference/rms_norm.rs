//! Root-mean-square normalisation, over whole rows and over attention heads.

/// Divides each row by its root mean square and multiplies by `gain`.
///
/// `y = gain * x / sqrt(mean(x^2) + eps)`, Zhang and Sennrich 2019, equation 4.
///
/// # Shapes
///
/// `x` and result `(m, width)`, `gain` `(width)`.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    assert_eq!(x.len() % gain.len(), 0, "x is not whole rows of {}", gain.len());
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(gain.len()) {
        let squares: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let scale = 1.0 / (squares / gain.len() as f64 + f64::from(eps)).sqrt();
        y.extend(row.iter().zip(gain).map(|(&v, &g)| (f64::from(v) * scale * f64::from(g)) as f32));
    }
    y
}

/// Normalises every head of every row on its own, as Qwen3 does to queries and keys.
///
/// # Shapes
///
/// `x` and result `(m, heads, head_dim)`, `gain` `(head_dim)`.
pub fn head_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    rms_norm(x, gain, eps)
}
