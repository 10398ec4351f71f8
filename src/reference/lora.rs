//! Low-rank adapters (arXiv 2106.09685): `h = A x`, `y += scale B h`, and their gradients.
//!
//! `A` is `(rank, inputs)` and `B` is `(outputs, rank)`, as in PyTorch.

/// `y += scale a b` for `a` of shape `(m, k)` and `b` of shape `(k, n)`.
fn add_product(y: &mut [f32], scale: f32, a: &[f32], b: &[f32], k: usize, n: usize) {
    assert_eq!(a.len() / k, y.len() / n, "a and y differ in rows");
    assert_eq!(b.len(), k * n, "b is not {k} by {n}");
    for (a, y) in a.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
        for (col, y) in y.iter_mut().enumerate() {
            let sum: f64 = (0..k).map(|i| f64::from(a[i]) * f64::from(b[i * n + col])).sum();
            *y = (f64::from(*y) + f64::from(scale) * sum) as f32;
        }
    }
}

/// `(rows, cols)` to `(cols, rows)`.
fn transposed(matrix: &[f32], cols: usize) -> Vec<f32> {
    assert_eq!(matrix.len() % cols, 0, "not whole rows of {cols}");
    (0..cols).flat_map(|col| matrix.iter().skip(col).step_by(cols).copied()).collect()
}

/// `h = x A^T`.
///
/// # Shapes
///
/// `a` `(rank, inputs)`; `x` `(m, inputs)`; result `(m, rank)`.
pub fn lora_shrink(a: &[f32], rank: usize, x: &[f32]) -> Vec<f32> {
    let inputs = a.len() / rank;
    let mut h = vec![0.0; x.len() / inputs * rank];
    add_product(&mut h, 1.0, x, &transposed(a, inputs), inputs, rank);
    h
}

/// `d_x += d_h A`.
///
/// # Shapes
///
/// `a` `(rank, inputs)`; `d_h` `(m, rank)`; `d_x` `(m, inputs)`.
pub fn lora_shrink_backward(a: &[f32], rank: usize, d_h: &[f32], d_x: &mut [f32]) {
    add_product(d_x, 1.0, d_h, a, rank, a.len() / rank);
}

/// `y += scale h B^T`.
///
/// # Shapes
///
/// `b` `(outputs, rank)`; `h` `(m, rank)`; `y` `(m, outputs)`.
pub fn lora_expand(b: &[f32], rank: usize, scale: f32, h: &[f32], y: &mut [f32]) {
    add_product(y, scale, h, &transposed(b, rank), rank, b.len() / rank);
}

/// `d_h = scale d_y B`.
///
/// # Shapes
///
/// `b` `(outputs, rank)`; `d_y` `(m, outputs)`; result `(m, rank)`.
pub fn lora_expand_backward(b: &[f32], rank: usize, scale: f32, d_y: &[f32]) -> Vec<f32> {
    let outputs = b.len() / rank;
    let mut d_h = vec![0.0; d_y.len() / outputs * rank];
    add_product(&mut d_h, scale, d_y, b, outputs, rank);
    d_h
}

/// `d_a += d_h^T x`.
///
/// # Shapes
///
/// `d_h` `(m, rank)`; `x` `(m, inputs)`; `d_a` `(rank, inputs)`.
pub fn lora_grad_a(d_h: &[f32], rank: usize, x: &[f32], d_a: &mut [f32]) {
    add_product(d_a, 1.0, &transposed(d_h, rank), x, d_h.len() / rank, d_a.len() / rank);
}

/// `d_b += scale d_y^T h`.
///
/// # Shapes
///
/// `h` `(m, rank)`; `d_y` `(m, outputs)`; `d_b` `(outputs, rank)`.
pub fn lora_grad_b(h: &[f32], rank: usize, scale: f32, d_y: &[f32], d_b: &mut [f32]) {
    let outputs = d_b.len() / rank;
    add_product(d_b, scale, &transposed(d_y, outputs), h, h.len() / rank, rank);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Philox, Purpose, uniform01};

    const RANK: usize = 4;
    const INPUTS: usize = 7;
    const OUTPUTS: usize = 5;
    const ROWS: usize = 3;
    const SCALE: f32 = 1.5;

    fn values(stream: u32, len: usize) -> Vec<f32> {
        let random = Philox::new(3);
        let value = |i| uniform01(random.block(Purpose::Conformance, stream, i, 0)[0]) * 2.0 - 1.0;
        (0..len as u32).map(value).collect()
    }

    /// The weighted sum of a pair's output on zeros.
    fn loss(a: &[f32], b: &[f32], x: &[f32], w: &[f32]) -> f64 {
        let h = lora_shrink(a, RANK, x);
        let mut y = vec![0.0; ROWS * OUTPUTS];
        lora_expand(b, RANK, SCALE, &h, &mut y);
        y.iter().zip(w).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
    }

    /// Central differences of `loss` against `gradient`, element by element.
    fn agrees(what: &str, at: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f64) {
        assert_eq!(at.len(), gradient.len(), "{what}");
        assert!(gradient.iter().any(|g| g.abs() > 0.1), "{what}: nothing to compare");
        const STEP: f32 = 1.0 / 64.0;
        for (i, &found) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut at = at.to_vec();
                at[i] += by;
                (loss(&at), f64::from(at[i]))
            };
            let ((above, end), (below, start)) = (moved(STEP), moved(-STEP));
            let expected = (above - below) / (end - start);
            assert!((expected - f64::from(found)).abs() < 1e-4, "{what} {i}: {found}, expected {expected}");
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (a, b) = (values(1, RANK * INPUTS), values(2, OUTPUTS * RANK));
        let (x, w) = (values(3, ROWS * INPUTS), values(4, ROWS * OUTPUTS));
        let h = lora_shrink(&a, RANK, &x);
        let d_h = lora_expand_backward(&b, RANK, SCALE, &w);
        let mut d_x = vec![0.0; x.len()];
        lora_shrink_backward(&a, RANK, &d_h, &mut d_x);
        let (mut d_a, mut d_b) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        lora_grad_a(&d_h, RANK, &x, &mut d_a);
        lora_grad_b(&h, RANK, SCALE, &w, &mut d_b);
        agrees("d_x", &x, &d_x, |x| loss(&a, &b, x, &w));
        agrees("d_a", &a, &d_a, |a| loss(a, &b, &x, &w));
        agrees("d_b", &b, &d_b, |b| loss(&a, b, &x, &w));
        agrees("d_h", &h, &d_h, |h| {
            let mut y = vec![0.0; ROWS * OUTPUTS];
            lora_expand(&b, RANK, SCALE, h, &mut y);
            y.iter().zip(&w).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
        });
    }

    #[test]
    fn gradients_and_outputs_add_to_what_is_there() {
        let (a, b) = (values(1, RANK * INPUTS), values(2, OUTPUTS * RANK));
        let (x, d_y) = (values(3, ROWS * INPUTS), values(4, ROWS * OUTPUTS));
        let h = lora_shrink(&a, RANK, &x);
        let adds = |len: usize, run: &dyn Fn(&mut [f32])| {
            let (mut zero, mut ten) = (vec![0.0; len], vec![10.0; len]);
            run(&mut zero);
            run(&mut ten);
            zero.iter().zip(&ten).all(|(zero, ten)| (zero + 10.0 - ten).abs() < 1e-5)
        };
        assert!(adds(ROWS * OUTPUTS, &|y| lora_expand(&b, RANK, SCALE, &h, y)));
        assert!(adds(ROWS * INPUTS, &|d_x| lora_shrink_backward(&a, RANK, &h, d_x)));
        assert!(adds(RANK * INPUTS, &|d_a| lora_grad_a(&h, RANK, &x, d_a)));
        assert!(adds(OUTPUTS * RANK, &|d_b| lora_grad_b(&h, RANK, SCALE, &d_y, d_b)));
    }
}
