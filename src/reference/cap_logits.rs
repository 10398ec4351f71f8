//! The scale and the soft cap of logits.

/// `cap tanh(scale x / cap)`, element by element; without a cap, `scale x`.
///
/// # Shapes
///
/// `x` and result `(rows, vocabulary)`.
pub fn cap_logits(scale: f32, cap: Option<f32>, x: &[f32]) -> Vec<f32> {
    let value = |&x: &f32| {
        let scaled = f64::from(scale) * f64::from(x);
        cap.map_or(scaled, |cap| f64::from(cap) * (scaled / f64::from(cap)).tanh()) as f32
    };
    x.iter().map(value).collect()
}

/// The gradient of [`cap_logits`] with respect to its input, given its result and that one's gradient:
/// `scale (1 - (y / cap)^2) d`.
///
/// # Shapes
///
/// All `(rows, vocabulary)`.
pub fn cap_logits_backward(scale: f32, cap: Option<f32>, y: &[f32], d: &[f32]) -> Vec<f32> {
    assert_eq!(y.len(), d.len(), "y and d differ in length");
    let slope = |(&y, &d): (&f32, &f32)| {
        let inner = cap.map_or(1.0, |cap| 1.0 - (f64::from(y) / f64::from(cap)).powi(2));
        (f64::from(scale) * inner * f64::from(d)) as f32
    };
    y.iter().zip(d).map(slope).collect()
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values, weighted_sum};
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_cap() {
        let (x, d) = (values(1, 24), values(2, 24));
        for (scale, cap) in [(0.25, None), (3.0, Some(2.0))] {
            let y = cap_logits(scale, cap, &x);
            let found = cap_logits_backward(scale, cap, &y, &d);
            assert_gradient(&x, &found, |x| weighted_sum(&d, &cap_logits(scale, cap, x)));
        }
    }
}
