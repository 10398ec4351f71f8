//! Causal scaled dot-product attention with grouped queries and an optional sliding window.

/// What stays the same for every row of an attention call.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` consecutive query heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// A query at position `p` sees keys at `p + 1 - window ..= p`; `None` means all up to `p`.
    pub window: Option<usize>,
}

/// Attends from queries to the history of one sequence: `softmax(q k^T / sqrt(head_dim)) v`.
///
/// Key `t` of the history is the key at position `t`; later keys than a query's position are
/// not looked at, so the history may be longer than needed.
///
/// # Shapes
///
/// `q` and result `(positions.len(), heads, head_dim)`; `k` and `v` `(history, kv_heads, head_dim)`.
pub fn attention(shape: AttentionShape, q: &[f32], positions: &[u32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let AttentionShape { heads, kv_heads, head_dim, window } = shape;
    assert_eq!(heads % kv_heads, 0, "{heads} heads cannot share {kv_heads} kv heads");
    assert_eq!(q.len(), positions.len() * heads * head_dim, "q is not one row per position");
    assert_eq!(k.len(), v.len(), "k and v differ in length");
    let scale = 1.0 / (head_dim as f64).sqrt();
    let mut y = vec![0f32; q.len()];
    for (m, &position) in positions.iter().enumerate() {
        let last = position as usize;
        let first = window.map_or(0, |w| (last + 1).saturating_sub(w));
        for head in 0..heads {
            let q = &q[(m * heads + head) * head_dim..][..head_dim];
            let at = |t: usize| (t * kv_heads + head / (heads / kv_heads)) * head_dim;
            let scores: Vec<f64> = (first..=last)
                .map(|t| {
                    let k = &k[at(t)..][..head_dim];
                    scale * q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>()
                })
                .collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (d, y) in y[(m * heads + head) * head_dim..][..head_dim].iter_mut().enumerate() {
                let sum: f64 = (first..=last).zip(&weights).map(|(t, w)| w * f64::from(v[at(t) + d])).sum();
                *y = (sum / total) as f32;
            }
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_one_returns_the_value_itself() {
        let shape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 2, window: Some(1) };
        let kv: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let y = attention(shape, &[1.0; 4], &[2], &kv, &kv);
        assert_eq!(y, [4.0, 5.0, 4.0, 5.0]);
    }

    #[test]
    fn equal_keys_average_the_values_up_to_the_position() {
        let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 2, window: None };
        let y = attention(shape, &[3.0, 1.0], &[1], &[1.0; 6], &[0.0, 2.0, 4.0, 6.0, 9.0, 9.0]);
        assert_eq!(y, [2.0, 4.0]);
    }
}
