//! The gated activation of LLaMA's feed-forward block.

/// `silu(gate) * up`, element by element; `silu(g) = g / (1 + exp(-g))`, Shazeer 2020.
///
/// # Shapes
///
/// All three `(m, ffn)`.
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "gate and up differ in length");
    gate.iter()
        .zip(up)
        .map(|(&g, &u)| {
            let g = f64::from(g);
            (g / (1.0 + (-g).exp()) * f64::from(u)) as f32
        })
        .collect()
}

/// The gradients of [`swiglu`] with respect to `gate` and `up`, given the gradient of its result.
///
/// With `p = 1 / (1 + exp(-gate))`: `d_gate = d_y up p (1 + gate (1 - p))` and `d_up = d_y gate p`.
///
/// # Shapes
///
/// All five `(m, ffn)`.
pub fn swiglu_backward(gate: &[f32], up: &[f32], d_y: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(gate.len() == up.len() && gate.len() == d_y.len(), "gate, up and d_y differ in length");
    let slopes = |((&g, &u), &d): ((&f32, &f32), &f32)| {
        let (g, u, d) = (f64::from(g), f64::from(u), f64::from(d));
        let p = 1.0 / (1.0 + (-g).exp());
        ((d * u * p * (1.0 + g * (1.0 - p))) as f32, (d * g * p) as f32)
    };
    gate.iter().zip(up).zip(d_y).map(slopes).unzip()
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values, weighted_sum};
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_activation() {
        let gate: Vec<f32> = values(1, 24).iter().map(|v| 6.0 * v).collect();
        let (up, d_y) = (values(2, 24), values(3, 24));
        let (d_gate, d_up) = swiglu_backward(&gate, &up, &d_y);
        assert_gradient(&gate, &d_gate, |gate| weighted_sum(&d_y, &swiglu(gate, &up)));
        assert_gradient(&up, &d_up, |up| weighted_sum(&d_y, &swiglu(&gate, up)));
    }
}
