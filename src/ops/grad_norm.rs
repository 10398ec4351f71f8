//! The norm of a run of gradients, and whether it is finite.

use bytemuck::{Pod, Zeroable};

use super::error::{ShapeError, holds, same};
use super::rms_norm::row_reduction;
use crate::gpu::{Access, Buffer, KernelFamily, KernelSpec, Recording};

/// Number of partial sums of squares that [`grad_norm`] writes for the host to add.
pub const GRAD_NORM_PARTS: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    at: u32,
    len: u32,
    part_quads: u32,
    partials_at: u32,
}

/// `optim/grad_norm`.
pub(super) const GRAD_NORM: KernelSpec = KernelSpec {
    name: "optim/grad_norm",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Write],
    variants: || [KernelFamily::Lane8, KernelFamily::Tiled].map(row_reduction).to_vec(),
};

/// Records the squares of `grads[at..at + len]`, summed in [`GRAD_NORM_PARTS`] parts. The root of the
/// parts' sum is the norm. The order of the sums is fixed. If a gradient or its square is NaN or
/// infinite, so is its part.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `grads` | `(at + len)` or more; `at` a multiple of 4 | read |
/// | `partials` | `(partials_at + GRAD_NORM_PARTS)` or more | `partials_at..` written |
///
/// Kernel: `shaders/optim/grad_norm.wgsl`. Oracle: `reference::grad_norm`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if a buffer is too short, or `at` is not a multiple of 4.
pub fn grad_norm(
    rec: &mut Recording,
    grads: &Buffer<f32>,
    at: usize,
    len: usize,
    partials: &Buffer<f32>,
    partials_at: usize,
) -> Result<(), ShapeError> {
    same("grad_norm", "place of the gradients, modulo 4,", at % 4, 0)?;
    holds("grad_norm", "number of gradients", grads.len(), at + len)?;
    holds("grad_norm", "number of partial sums", partials.len(), partials_at + GRAD_NORM_PARTS)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&GRAD_NORM, &row_reduction(device.family(&[GRAD_NORM.name])))?;
    let params = Params {
        at: (at / 4) as u32,
        len: len as u32,
        part_quads: len.div_ceil(4).div_ceil(GRAD_NORM_PARTS) as u32,
        partials_at: partials_at as u32,
    };
    let bindings = [grads.binding(), partials.binding()];
    rec.dispatch(&pipeline, &params, &bindings, [GRAD_NORM_PARTS as u32, 1, 1], 2 * len as u64)?;
    Ok(())
}
