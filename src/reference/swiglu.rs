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
