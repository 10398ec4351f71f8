//! The gradient of [`attention()`](super::attention()).

use super::AttentionShape;
use super::attention::Weights;

/// Gradients of one sequence's queries, keys and values, in the same shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGradients {
    /// `(positions.len(), heads, head_dim)`.
    pub d_q: Vec<f32>,
    /// `(history, kv_heads, head_dim)`.
    pub d_k: Vec<f32>,
    /// `(history, kv_heads, head_dim)`.
    pub d_v: Vec<f32>,
}

/// The gradient of `sum(d_out * attention(q, positions, k, v))` with respect to q, k and v.
///
/// With weights `p`, `d_v = p^T d_out`, and with `d_p = d_out v^T` the softmax gives back
/// `d_s = p (d_p - sum(p d_p))`; then `d_q = scale d_s k` and `d_k = scale d_s^T q`.
///
/// # Shapes
///
/// As of [`attention()`](super::attention()); `d_out` `(positions.len(), heads, head_dim)`.
pub fn attention_backward(
    shape: AttentionShape,
    q: &[f32],
    positions: &[u32],
    k: &[f32],
    v: &[f32],
    d_out: &[f32],
) -> AttentionGradients {
    let head_dim = shape.head_dim;
    assert_eq!(q.len(), d_out.len(), "d_out is not as large as q");
    let (mut d_q, mut d_k, mut d_v) = (vec![0f64; q.len()], vec![0f64; k.len()], vec![0f64; v.len()]);
    let product =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    for (m, &position) in positions.iter().enumerate() {
        for head in 0..shape.heads {
            let at = shape.q_at(m, head);
            let (q, d_out) = (&q[at..][..head_dim], &d_out[at..][..head_dim]);
            let Weights { first, weights, scores, .. } = shape.weights(q, head, position, k);
            let kv_at = |i: usize| shape.kv_at(first + i, head);
            let d_p: Vec<f64> =
                (0..weights.len()).map(|i| product(d_out, &v[kv_at(i)..][..head_dim])).collect();
            let mean: f64 = weights.iter().zip(&d_p).map(|(p, d_p)| p * d_p).sum();
            for (i, (p, d_p)) in weights.iter().zip(&d_p).enumerate() {
                // The derivative of `cap tanh(s / cap)` is `1 - (capped / cap)^2`.
                let slope = shape.cap.map_or(1.0, |cap| 1.0 - (scores[i] / f64::from(cap)).powi(2));
                let d_s = shape.scale() * slope * p * (d_p - mean);
                for d in 0..head_dim {
                    d_v[kv_at(i) + d] += p * f64::from(d_out[d]);
                    d_k[kv_at(i) + d] += d_s * f64::from(q[d]);
                    d_q[at + d] += d_s * f64::from(k[kv_at(i) + d]);
                }
            }
        }
    }
    let [d_q, d_k, d_v] = [d_q, d_k, d_v].map(|sums| sums.iter().map(|&sum| sum as f32).collect());
    AttentionGradients { d_q, d_k, d_v }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::attention;

    /// The loss `sum(w * attention(..))` in f64 along each coordinate of q, k and v.
    fn agrees_with_finite_differences(shape: AttentionShape, positions: &[u32], history: usize) {
        let values = |len: usize, seed: f32| -> Vec<f32> {
            (0..len).map(|i| (i as f32 * 0.61 + seed).sin() * 1.5).collect()
        };
        let (q_len, kv_len) =
            (positions.len() * shape.heads * shape.head_dim, history * shape.kv_heads * shape.head_dim);
        let inputs = [values(q_len, 0.1), values(kv_len, 2.3), values(kv_len, 4.7)];
        let w = values(q_len, 7.9);
        let loss = |inputs: &[Vec<f32>; 3]| -> f64 {
            let y = attention(shape, &inputs[0], positions, &inputs[1], &inputs[2]);
            y.iter().zip(&w).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
        };
        let found = attention_backward(shape, &inputs[0], positions, &inputs[1], &inputs[2], &w);
        for (which, gradient) in [found.d_q, found.d_k, found.d_v].iter().enumerate() {
            let mut largest = 0f32;
            for i in 0..gradient.len() {
                // The output is rounded to f32, so the step must not be small; its own error is cubic.
                let (mut above, mut below) = (inputs.clone(), inputs.clone());
                above[which][i] += 0.02;
                below[which][i] -= 0.02;
                let step = f64::from(above[which][i] - below[which][i]);
                let difference = (loss(&above) - loss(&below)) / step;
                let error = (difference - f64::from(gradient[i])).abs();
                assert!(error < 2e-4, "input {which}, element {i}: {difference} and {}", gradient[i]);
                largest = largest.max(gradient[i].abs());
            }
            assert!(largest > 0.2, "input {which}: gradients up to {largest} would not show a fault");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let shape =
            AttentionShape { heads: 4, kv_heads: 2, head_dim: 6, window: None, scale: None, cap: None };
        agrees_with_finite_differences(shape, &[0, 1, 2, 3, 4], 5);
        agrees_with_finite_differences(AttentionShape { window: Some(2), ..shape }, &[0, 1, 2, 3, 4], 5);
        let capped = AttentionShape { scale: Some(0.7), cap: Some(1.5), ..shape };
        agrees_with_finite_differences(capped, &[0, 1, 2, 3, 4], 5);
        agrees_with_finite_differences(AttentionShape { heads: 3, kv_heads: 1, ..shape }, &[2, 3], 5);
    }

    #[test]
    fn a_key_that_nobody_sees_has_no_gradient() {
        let shape =
            AttentionShape { heads: 1, kv_heads: 1, head_dim: 2, window: Some(1), scale: None, cap: None };
        let kv = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let found = attention_backward(shape, &[1.0, -1.0], &[1], &kv, &kv, &[0.5, 2.0]);
        assert_eq!(found.d_v, [0.0, 0.0, 0.5, 2.0, 0.0, 0.0]);
        assert_eq!((found.d_q, found.d_k), (vec![0.0; 2], vec![0.0; 6]));
    }
}
