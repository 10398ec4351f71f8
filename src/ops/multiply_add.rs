//! Multiplications and additions without loads: a measure of a device.

use bytemuck::{Pod, Zeroable};

use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    quads: u32,
    rounds: u32,
    pad: [u32; 2],
}

/// `rate/multiply_add`.
pub(super) const MULTIPLY_ADD: KernelSpec = KernelSpec {
    name: "rate/multiply_add",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Write],
    variants: || vec![variant()],
};

const LANES: usize = 64;

/// Multiplications and additions of one value in one round.
pub const MULTIPLY_ADD_STEPS: usize = 8;

fn variant() -> Specialization {
    Specialization::new(&[], &[("WG", LANES as u32)])
}

/// Records `rounds` rounds of [`MULTIPLY_ADD_STEPS`] steps `v * 0.75 + 0.5` on each of the first `len` values of `x`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `x` | `len` or more, a multiple of 4 above 0 | read |
/// | `y` | the same | written |
///
/// Kernel: `shaders/rate/multiply_add.wgsl`. Oracle: `reference::multiply_add`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if a buffer is too short, or `len` is not a multiple of 4 above 0.
pub fn multiply_add(
    rec: &mut Recording,
    x: &Buffer<f32>,
    y: &Buffer<f32>,
    len: usize,
    rounds: usize,
) -> Result<(), ShapeError> {
    same("multiply_add", "number of values, modulo 4,", len % 4, 0)?;
    holds("multiply_add", "number of values", len, 4)?;
    holds("multiply_add", "length of x", x.len(), len)?;
    holds("multiply_add", "length of y", y.len(), len)?;
    let pipeline = rec.device().pipeline(&MULTIPLY_ADD, &variant())?;
    let params = Params { quads: (len / 4) as u32, rounds: rounds as u32, pad: [0; 2] };
    let grid = [len.div_ceil(16).div_ceil(LANES) as u32, 1, 1];
    let flops = 2 * (len * rounds * MULTIPLY_ADD_STEPS) as u64;
    rec.dispatch(&pipeline, &params, &[x.binding(), y.binding()], grid, flops)?;
    Ok(())
}
