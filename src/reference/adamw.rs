//! Adam with decoupled weight decay, Loshchilov and Hutter 2019, algorithm 2, and the norm that clips it.

/// Settings that are the same for every step.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay, times the learning rate.
    pub weight_decay: f64,
}

/// Takes step `step`, which counts from 1, with gradients multiplied by `grad_scale`.
///
/// # Shapes
///
/// `params`, `grads`, `m` and `v` are of one length.
#[expect(clippy::too_many_arguments, reason = "the four vectors, and the scalars of the step")]
pub fn adamw(
    rule: &AdamW,
    step: u32,
    lr: f64,
    grad_scale: f64,
    params: &mut [f32],
    grads: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    assert!(params.len() == grads.len() && m.len() == v.len() && m.len() == grads.len(), "lengths differ");
    let correction1 = 1.0 - rule.beta1.powi(step as i32);
    let correction2 = 1.0 - rule.beta2.powi(step as i32);
    for (((p, &grad), m), v) in params.iter_mut().zip(grads).zip(m).zip(v) {
        let grad = f64::from(grad) * grad_scale;
        let mean = rule.beta1 * f64::from(*m) + (1.0 - rule.beta1) * grad;
        let square = rule.beta2 * f64::from(*v) + (1.0 - rule.beta2) * grad * grad;
        let decayed = f64::from(*p) * (1.0 - lr * rule.weight_decay);
        let stepped = lr * (mean / correction1) / ((square / correction2).sqrt() + rule.eps);
        (*p, *m, *v) = ((decayed - stepped) as f32, mean as f32, square as f32);
    }
}

/// The Euclidean norm of all gradients together.
pub fn grad_norm(grads: &[f32]) -> f64 {
    grads.iter().map(|&grad| f64::from(grad).powi(2)).sum::<f64>().sqrt()
}
