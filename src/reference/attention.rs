//! Causal scaled dot-product attention with grouped queries and an optional sliding window.

/// Settings that are the same for every row of an attention call.
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
    /// Factor of the scores; `None` for `1 / sqrt(head_dim)`.
    pub scale: Option<f32>,
    /// Bound of the scaled scores, as `cap tanh(score / cap)`; `None` for none.
    pub cap: Option<f32>,
}

/// The positions that one query head of one row attends to, and their weights.
pub(super) struct Weights {
    /// First position that it attends to.
    pub first: usize,
    /// Scores of these positions, scaled and capped.
    pub scores: Vec<f64>,
    /// Weight of each position from `first` to the row's own; they sum to 1.
    pub weights: Vec<f64>,
    /// Log of the sum of `exp` of the scaled scores.
    pub log_sum_exp: f64,
}

impl AttentionShape {
    /// Factor of the scores.
    pub(super) fn scale(&self) -> f64 {
        self.scale.map_or_else(|| 1.0 / (self.head_dim as f64).sqrt(), f64::from)
    }

    /// A scaled score after the cap.
    pub(super) fn capped(&self, score: f64) -> f64 {
        self.cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
    }

    /// Start of query head `head` of row `m` in `q`.
    pub(super) fn q_at(&self, m: usize, head: usize) -> usize {
        (m * self.heads + head) * self.head_dim
    }

    /// Start of the key or value at position `t` in `k` or `v`, for query head `head`.
    pub(super) fn kv_at(&self, t: usize, head: usize) -> usize {
        (t * self.kv_heads + head / (self.heads / self.kv_heads)) * self.head_dim
    }

    /// The softmax of one query head's scores at `position`; `q` is that head's.
    pub(super) fn weights(&self, q: &[f32], head: usize, position: u32, k: &[f32]) -> Weights {
        let last = position as usize;
        let first = self.window.map_or(0, |w| (last + 1).saturating_sub(w));
        let scores: Vec<f64> = (first..=last)
            .map(|t| {
                let k = &k[self.kv_at(t, head)..][..self.head_dim];
                let product = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
                self.capped(self.scale() * product)
            })
            .collect();
        let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
        let weights = scores.iter().map(|s| (s - top).exp() / total).collect();
        Weights { first, weights, log_sum_exp: top + total.ln(), scores }
    }
}

/// Attends from queries to the history of one sequence: `softmax(scale q k^T) v`.
///
/// Key `t` of the history is the key at position `t`. Keys after a query's position are ignored,
/// so the history may be longer than needed.
///
/// # Shapes
///
/// `q` and result `(positions.len(), heads, head_dim)`; `k` and `v` `(history, kv_heads, head_dim)`.
pub fn attention(shape: AttentionShape, q: &[f32], positions: &[u32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let AttentionShape { heads, kv_heads, head_dim, .. } = shape;
    assert_eq!(heads % kv_heads, 0, "{heads} heads cannot share {kv_heads} kv heads");
    assert_eq!(q.len(), positions.len() * heads * head_dim, "q is not one row per position");
    assert_eq!(k.len(), v.len(), "k and v differ in length");
    let mut y = vec![0f32; q.len()];
    for (m, &position) in positions.iter().enumerate() {
        for head in 0..heads {
            let at = shape.q_at(m, head);
            let Weights { first, weights, .. } = shape.weights(&q[at..][..head_dim], head, position, k);
            for (d, y) in y[at..][..head_dim].iter_mut().enumerate() {
                let terms = weights.iter().enumerate();
                *y = terms.map(|(i, w)| w * f64::from(v[shape.kv_at(first + i, head) + d])).sum::<f64>()
                    as f32;
            }
        }
    }
    y
}

/// The log of the sum of `exp` of each row's scaled scores, `(positions.len(), heads)`: with it, a
/// weight is `exp(score - log_sum_exp)`, so nothing else of the softmax must be stored.
pub fn log_sum_exp(shape: AttentionShape, q: &[f32], positions: &[u32], k: &[f32]) -> Vec<f32> {
    let rows = positions.iter().enumerate().flat_map(|(m, &position)| {
        (0..shape.heads).map(move |head| {
            let q = &q[shape.q_at(m, head)..][..shape.head_dim];
            shape.weights(q, head, position, k).log_sum_exp as f32
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_one_returns_the_value_itself() {
        let shape =
            AttentionShape { heads: 2, kv_heads: 1, head_dim: 2, window: Some(1), scale: None, cap: None };
        let kv: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let y = attention(shape, &[1.0; 4], &[2], &kv, &kv);
        assert_eq!(y, [4.0, 5.0, 4.0, 5.0]);
    }

    #[test]
    fn the_log_sum_exp_of_equal_scores_counts_the_keys() {
        let shape =
            AttentionShape { heads: 1, kv_heads: 1, head_dim: 4, window: None, scale: None, cap: None };
        let found = log_sum_exp(shape, &[1.0; 4], &[2], &[0.5; 12]);
        assert_eq!(found, [1.0 + 3f32.ln()]);
    }

    #[test]
    fn equal_keys_average_the_values_up_to_the_position() {
        let shape =
            AttentionShape { heads: 1, kv_heads: 1, head_dim: 2, window: None, scale: None, cap: None };
        let y = attention(shape, &[3.0, 1.0], &[1], &[1.0; 6], &[0.0, 2.0, 4.0, 6.0, 9.0, 9.0]);
        assert_eq!(y, [2.0, 4.0]);
    }
}
