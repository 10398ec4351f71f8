//! Scalar heads: one number for a hidden state.

/// The head's value for one hidden state: `hidden . weight + bias`.
///
/// # Shapes
///
/// `hidden` and `weight` `(width)`.
pub fn scalar_head(hidden: &[f32], weight: &[f32], bias: f32) -> f32 {
    assert_eq!(hidden.len(), weight.len(), "hidden and weight differ in length");
    let products = hidden.iter().zip(weight).map(|(&h, &w)| f64::from(h) * f64::from(w));
    (products.sum::<f64>() + f64::from(bias)) as f32
}

/// The gradients of one head, `(d_hidden, d_weight, d_bias)`, given the gradients with respect to its
/// values: `d_hidden = d_value weight`, `d_weight = sum d_value hidden`, `d_bias = sum d_value`.
///
/// # Shapes
///
/// `hidden` and `d_hidden` `(d_values.len(), width)`, `weight` and `d_weight` `(width)`.
pub fn scalar_head_backward(hidden: &[f32], weight: &[f32], d_values: &[f32]) -> (Vec<f32>, Vec<f32>, f32) {
    let width = weight.len();
    assert_eq!(hidden.len(), d_values.len() * width, "hidden is not one row of {width} per value");
    let d_hidden = d_values.iter().flat_map(|&d| weight.iter().map(move |&w| d * w)).collect();
    let mut d_weight = vec![0f64; width];
    for (row, &d) in hidden.chunks_exact(width).zip(d_values) {
        d_weight.iter_mut().zip(row).for_each(|(sum, &h)| *sum += f64::from(d) * f64::from(h));
    }
    let d_bias: f64 = d_values.iter().map(|&d| f64::from(d)).sum();
    (d_hidden, d_weight.into_iter().map(|sum| sum as f32).collect(), d_bias as f32)
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values, weighted_sum};
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_values() {
        let (width, rows) = (5, 3);
        let (hidden, weight, d_values) = (values(1, rows * width), values(2, width), values(3, rows));
        let loss = |hidden: &[f32], weight: &[f32], bias: f32| {
            let score = |row: &[f32]| scalar_head(row, weight, bias);
            weighted_sum(&d_values, &hidden.chunks_exact(width).map(score).collect::<Vec<_>>())
        };
        let (d_hidden, d_weight, d_bias) = scalar_head_backward(&hidden, &weight, &d_values);
        assert_gradient(&hidden, &d_hidden, |hidden| loss(hidden, &weight, 0.3));
        assert_gradient(&weight, &d_weight, |weight| loss(&hidden, weight, 0.3));
        assert_gradient(&[0.3], &[d_bias], |bias| loss(&hidden, &weight, bias[0]));
    }
}
