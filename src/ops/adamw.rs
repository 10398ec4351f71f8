//! The optimizer: Adam with decoupled weight decay.

use bytemuck::{Pod, Zeroable};

use super::error::{ShapeError, holds, same};
use super::rms_norm::folded;
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

/// The coefficients of one step, with the names of PyTorch's `AdamW`. In f64, because `1 - beta2` of an f32
/// would have an error of 5 parts in 100 000.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the denominator, after the root.
    pub eps: f64,
    /// Weight decay: the share of each parameter that a step subtracts, times `lr`.
    pub weight_decay: f64,
    /// `1 - beta1^t` at step `t`, which counts from 1.
    pub bias_correction1: f64,
    /// `1 - beta2^t`.
    pub bias_correction2: f64,
    /// Factor of every gradient, applied first: clipping, and the mean over accumulated batches.
    pub grad_scale: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    parameters_at: u32,
    state_at: u32,
    grad_scale: f32,
    decay: f32,
    m_weight: f32,
    v_keep: f32,
    v_weight: f32,
    step_size: f32,
    root_correction: f32,
    eps: f32,
    pad: u32,
}

/// `optim/adamw`.
pub(super) const ADAMW: KernelSpec = KernelSpec {
    name: "optim/adamw",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Write, Access::Read, Access::Write, Access::Write],
    variants: || vec![lanes()],
};

const LANES: u32 = 64;

fn lanes() -> Specialization {
    Specialization::new(&[], &[("WG", LANES)])
}

/// Records one step for `len` parameters. Both offsets must be multiples of 4.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `params` | `(params_at + len)` or more | `params_at..` stepped |
/// | `grads` | `(state_at + len)` or more | read |
/// | `m`, `v` | `(state_at + len)` or more: means of gradients and of squares, zero at first | `state_at..` updated |
///
/// Kernel: `shaders/optim/adamw.wgsl`. Oracle: `reference::adamw`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if a buffer is too short, or an offset is not a multiple of 4.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, and where in each")]
pub fn adamw(
    rec: &mut Recording,
    step: &AdamWStep,
    params: &Buffer<f32>,
    params_at: usize,
    grads: &Buffer<f32>,
    m: &Buffer<f32>,
    v: &Buffer<f32>,
    state_at: usize,
    len: usize,
) -> Result<(), ShapeError> {
    same("adamw", "place of the parameters, modulo 4,", params_at % 4, 0)?;
    same("adamw", "place of the gradients, modulo 4,", state_at % 4, 0)?;
    holds("adamw", "number of parameters", params.len(), params_at + len)?;
    holds("adamw", "number of gradients", grads.len(), state_at + len)?;
    holds("adamw", "length of m", m.len(), state_at + len)?;
    holds("adamw", "length of v", v.len(), state_at + len)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&ADAMW, &lanes())?;
    let coefficients = Params {
        len: len as u32,
        parameters_at: (params_at / 4) as u32,
        state_at: (state_at / 4) as u32,
        grad_scale: step.grad_scale as f32,
        decay: (1.0 - step.lr * step.weight_decay) as f32,
        m_weight: (1.0 - step.beta1) as f32,
        v_keep: step.beta2 as f32,
        v_weight: (1.0 - step.beta2) as f32,
        step_size: (step.lr / step.bias_correction1) as f32,
        root_correction: step.bias_correction2.sqrt() as f32,
        eps: step.eps as f32,
        pad: 0,
    };
    let bindings = [params.binding(), grads.binding(), m.binding(), v.binding()];
    let workgroups = len.div_ceil(4 * LANES as usize);
    if workgroups == 0 {
        return Ok(());
    }
    rec.dispatch(&pipeline, &coefficients, &bindings, folded(&device, workgroups), 16 * len as u64)?;
    Ok(())
}
