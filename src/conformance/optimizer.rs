//! `adamw` and `grad_norm`: runs of any length, between others that must not change.

use super::Case;
use super::check::{Check, GUARD};
use crate::gpu::Buffer;
use crate::ops::{AdamWStep, GRAD_NORM_PARTS, ShapeError, adamw, grad_norm};
use crate::reference;

/// Length of the run, and values before it.
const RUNS: [(usize, usize); 7] = [(1, 0), (3, 4), (64, 0), (255, 32), (1027, 8), (100_003, 64), (70_000, 0)];

/// Values after the run that belong to another.
const BEHIND: usize = 9;

/// Gradients from far below eps to far above it, and zeros, in turn.
const SIZES: [f32; 5] = [1.0, 1e-3, 1e-9, 0.0, 1e3];

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("grad_norm", "f32", 1e-12, norms),
        Case::new("adamw", "f32", 1e-13, |check| RUNS.into_iter().try_for_each(|run| steps(check, run))),
    ]
}

fn norms(check: &mut Check<'_>) -> Result<(), ShapeError> {
    for (len, at) in RUNS {
        check.shape(format!("{len} gradients from {at} on"));
        let mut grads = check.values(at + len + BEHIND);
        // Neither the neighbours' values nor their NaN count.
        grads[..at].fill(f32::NAN);
        grads[at + len..].fill(f32::NAN);
        let norm = reference::grad_norm(&grads[at..at + len]);
        let found = norm_of(check, &grads, at, len)?;
        check.compare_values("norm", &[(found / norm) as f32], &[1.0]);
        if norm_of(check, &grads, at, len)?.to_bits() != found.to_bits() {
            check.fault("norm: a second run gave another value".to_owned());
        }
        for (place, broken) in [(0, f32::NAN), (len - 1, f32::INFINITY), (len / 2, f32::NEG_INFINITY)] {
            let whole = std::mem::replace(&mut grads[at + place], broken);
            let found = norm_of(check, &grads, at, len)?;
            if found.is_nan() != broken.is_nan() || found.is_finite() {
                check.fault(format!("norm: {found} with a gradient of {broken}"));
            }
            grads[at + place] = whole;
        }
    }
    check.shape("no gradients".to_owned());
    let found = norm_of(check, &[f32::NAN; 4], 0, 0)?;
    check.compare_values("norm", &[found as f32], &[0.0]);
    Ok(())
}

fn norm_of(check: &mut Check<'_>, grads: &[f32], at: usize, len: usize) -> Result<f64, ShapeError> {
    const BEFORE: usize = 3;
    let grads_device = check.device().upload("conformance", grads)?;
    let partials = check.guarded(&[f32::from_bits(GUARD); BEFORE + GRAD_NORM_PARTS])?;
    check.run(|rec| grad_norm(rec, &grads_device, at, len, &partials, BEFORE))?;
    let found = check.read_guarded("partial sums", &partials)?;
    if found[..BEFORE].iter().any(|v| v.to_bits() != GUARD) {
        check.fault("partial sums: wrote before the first".to_owned());
    }
    if let Some(part) = found[BEFORE..].iter().position(|v| v.to_bits() == GUARD) {
        check.fault(format!("partial sums: {part} was not written"));
    }
    Ok(found[BEFORE..].iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt())
}

fn steps(check: &mut Check<'_>, (len, at): (usize, usize)) -> Result<(), ShapeError> {
    check.shape(format!("{len} parameters, state from {at} on"));
    let rule = reference::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
    let params_at = at / 8 * 4;
    let mut params = check.values(params_at + len + BEHIND);
    let (mut m, mut v) = (vec![0.0; at + len + BEHIND], vec![0.0; at + len + BEHIND]);
    // The neighbours' state, which must stay.
    for state in [&mut m, &mut v] {
        let beside = check.values(state.len());
        state[..at].copy_from_slice(&beside[..at]);
        state[at + len..].copy_from_slice(&beside[at + len..]);
    }
    let params_device = check.guarded(&params)?;
    let (m_device, v_device) = (check.guarded(&m)?, check.guarded(&v)?);
    for step in 1..=3 {
        let (lr, grad_scale) = (0.01 / f64::from(step), 0.5 + f64::from(step));
        let mut grads = check.values(at + len + BEHIND);
        grads.iter_mut().enumerate().for_each(|(i, grad)| *grad *= SIZES[i % 5]);
        let grads_device = check.device().upload("conformance", &grads)?;
        let coefficients = AdamWStep {
            lr,
            beta1: rule.beta1,
            beta2: rule.beta2,
            eps: rule.eps,
            weight_decay: rule.weight_decay,
            bias_correction1: 1.0 - rule.beta1.powi(step),
            bias_correction2: 1.0 - rule.beta2.powi(step),
            grad_scale,
        };
        check.run(|rec| {
            let (params, grads, m, v) = (&params_device, &grads_device, &m_device, &v_device);
            adamw(rec, &coefficients, params, params_at, grads, m, v, at, len)
        })?;
        let run = at..at + len;
        let parameters = &mut params[params_at..params_at + len];
        let (m, v) = (&mut m[run.clone()], &mut v[run.clone()]);
        reference::adamw(&rule, step as u32, lr, grad_scale, parameters, &grads[run], m, v);
    }
    // Relative to the size of its own gradients; values outside the run relative to 1.
    let sizes = |to: &dyn Fn(f32) -> f32| -> Vec<f32> {
        let within = |i: usize| (at..at + len).contains(&i) && SIZES[i % 5] != 0.0;
        (0..at + len + BEHIND).map(|i| if within(i) { to(SIZES[i % 5]) } else { 1.0 }).collect()
    };
    compare_run(check, "params", &params_device, &params, &vec![1.0; params.len()])?;
    compare_run(check, "m", &m_device, &m, &sizes(&|size| 0.1 * size))?;
    compare_run(check, "v", &v_device, &v, &sizes(&|size| 0.001 * size * size))
}

fn compare_run(
    check: &mut Check<'_>,
    what: &str,
    device: &Buffer<f32>,
    expected: &[f32],
    sizes: &[f32],
) -> Result<(), ShapeError> {
    let beside = |values: &[f32]| values.iter().zip(sizes).map(|(v, size)| v / size).collect::<Vec<_>>();
    let found = check.read_guarded(what, device)?;
    check.compare_values(what, &beside(&found), &beside(expected));
    Ok(())
}
