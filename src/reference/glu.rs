//! The gated linear unit of the feed-forward block (Shazeer, arXiv 2002.05202).

/// An activation: its value and its derivative.
pub type ActivationFn = fn(f64) -> (f64, f64);

/// `silu(g) = g / (1 + exp(-g))`, and its derivative.
pub fn silu(g: f64) -> (f64, f64) {
    let p = 1.0 / (1.0 + (-g).exp());
    (g * p, p * (1.0 + g * (1.0 - p)))
}

/// GELU in the approximation by tanh (arXiv 1606.08415), and its derivative.
pub fn gelu(g: f64) -> (f64, f64) {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let tanh = (root * (g + 0.044715 * g.powi(3))).tanh();
    let slope = root * (1.0 + 3.0 * 0.044715 * g * g);
    (0.5 * g * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * g * (1.0 - tanh * tanh) * slope)
}

/// `act(gate) * up`, element by element.
///
/// # Shapes
///
/// All three `(m, ffn)`.
pub fn glu(act: ActivationFn, gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "gate and up differ in length");
    let pairs = gate.iter().zip(up);
    pairs.map(|(&g, &u)| (act(f64::from(g)).0 * f64::from(u)) as f32).collect()
}

/// The gradients of [`glu`] with respect to `gate` and `up`, given the gradient of its result:
/// `d_gate = d_y up act'(gate)` and `d_up = d_y act(gate)`.
///
/// # Shapes
///
/// All five `(m, ffn)`.
pub fn glu_backward(act: ActivationFn, gate: &[f32], up: &[f32], d_y: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(gate.len() == up.len() && gate.len() == d_y.len(), "gate, up and d_y differ in length");
    let slopes = |((&g, &u), &d): ((&f32, &f32), &f32)| {
        let (value, slope) = act(f64::from(g));
        let d = f64::from(d);
        ((d * f64::from(u) * slope) as f32, (d * value) as f32)
    };
    gate.iter().zip(up).zip(d_y).map(slopes).unzip()
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values, weighted_sum};
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_activation() {
        for act in [silu, gelu] as [ActivationFn; 2] {
            let gate: Vec<f32> = values(1, 24).iter().map(|v| 6.0 * v).collect();
            let (up, d_y) = (values(2, 24), values(3, 24));
            let (d_gate, d_up) = glu_backward(act, &gate, &up, &d_y);
            assert_gradient(&gate, &d_gate, |gate| weighted_sum(&d_y, &glu(act, gate, &up)));
            assert_gradient(&up, &d_up, |up| weighted_sum(&d_y, &glu(act, &gate, up)));
        }
    }
}
