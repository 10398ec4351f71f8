//! Rotary position embedding, Su et al. 2021, in the half-split order of Hugging Face.

/// Rotates every head of every row by its position: its first `2 h` dimensions, where `h` is the number of frequencies.
/// The others stay.
///
/// With `a = position * inverse_frequencies[i]`, the pair
/// `(x[i], x[i + h])` of each head becomes `(x[i] cos a - x[i + h] sin a, x[i + h] cos a + x[i] sin a)`.
/// The angle is an f32 product, as in every implementation; the rest is computed in f64.
///
/// # Shapes
///
/// `x` and result `(positions.len(), heads, head_dim)`, `inverse_frequencies` at most `(head_dim / 2)`.
pub fn rope(x: &[f32], positions: &[u32], heads: usize, inverse_frequencies: &[f32]) -> Vec<f32> {
    turned(x, positions, heads, inverse_frequencies, 1.0)
}

/// The gradient of [`rope`]: each pair rotated by `-a`, the transpose of its rotation.
///
/// # Shapes
///
/// `d_y` and result `(positions.len(), heads, head_dim)`, `inverse_frequencies` at most `(head_dim / 2)`.
pub fn rope_backward(d_y: &[f32], positions: &[u32], heads: usize, inverse_frequencies: &[f32]) -> Vec<f32> {
    turned(d_y, positions, heads, inverse_frequencies, -1.0)
}

fn turned(
    x: &[f32],
    positions: &[u32],
    heads: usize,
    inverse_frequencies: &[f32],
    direction: f64,
) -> Vec<f32> {
    let half = inverse_frequencies.len();
    let width = x.len() / positions.len().max(1);
    assert_eq!(x.len(), positions.len() * width, "x is not one row per position");
    assert!(
        width.is_multiple_of(heads) && width / heads >= 2 * half,
        "{heads} heads do not fit {width} columns"
    );
    let mut y = x.to_vec();
    for (row, &position) in y.chunks_exact_mut(width).zip(positions) {
        for head in row.chunks_exact_mut(width / heads) {
            for (i, &frequency) in inverse_frequencies.iter().enumerate() {
                let (sin, cos) = (direction * f64::from(position as f32 * frequency)).sin_cos();
                let (a, b) = (f64::from(head[i]), f64::from(head[i + half]));
                head[i] = (a * cos - b * sin) as f32;
                head[i + half] = (b * cos + a * sin) as f32;
            }
        }
    }
    y
}

/// The unscaled inverse frequencies `theta^(-2i / head_dim)`, radians per position.
pub fn inverse_frequencies(head_dim: usize, theta: f32) -> Vec<f32> {
    (0..head_dim / 2).map(|i| f64::from(theta).powf(-2.0 * i as f64 / head_dim as f64) as f32).collect()
}

/// Llama 3's scaling of `frequencies`: long wavelengths are stretched by `factor`, short ones are
/// unchanged, with a linear blend in between.
pub fn llama3_scaled(
    frequencies: &[f32],
    factor: f32,
    low_freq_factor: f32,
    high_freq_factor: f32,
    original_context: usize,
) -> Vec<f32> {
    let context = original_context as f64;
    let (factor, low, high) = (f64::from(factor), f64::from(low_freq_factor), f64::from(high_freq_factor));
    frequencies
        .iter()
        .map(|&frequency| {
            let frequency = f64::from(frequency);
            let wavelength = std::f64::consts::TAU / frequency;
            let scaled = if wavelength < context / high {
                frequency
            } else if wavelength > context / low {
                frequency / factor
            } else {
                let smooth = (context / wavelength - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            };
            scaled as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (heads, positions) = (2, [0, 3, 700]);
        let frequencies = inverse_frequencies(6, 100.0);
        let x: Vec<f32> = (0..36).map(|i| (i as f32 * 0.7).sin()).collect();
        let w: Vec<f32> = (0..36).map(|i| (i as f32 * 1.3).cos()).collect();
        let loss = |x: &[f32]| -> f64 {
            let y = rope(x, &positions, heads, &frequencies);
            y.iter().zip(&w).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
        };
        let d_x = rope_backward(&w, &positions, heads, &frequencies);
        for i in 0..x.len() {
            // The rotation is linear, so the step may be large.
            let (mut above, mut below) = (x.clone(), x.clone());
            above[i] += 1.0;
            below[i] -= 1.0;
            let difference = (loss(&above) - loss(&below)) / f64::from(above[i] - below[i]);
            assert!((difference - f64::from(d_x[i])).abs() < 1e-6, "{i}: {difference} and {}", d_x[i]);
        }
    }
}
