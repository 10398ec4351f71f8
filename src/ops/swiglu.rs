//! The gated activation of the MLP.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    y_stride: u32,
}

/// `mlp/swiglu`.
pub(super) const SWIGLU: KernelSpec = KernelSpec {
    name: "mlp/swiglu",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Write],
    variants: || [false, true].map(variant).to_vec(),
};

const LANES: u32 = 64;

fn variant(split: bool) -> Specialization {
    Specialization::new(&[], &[("WG", LANES), ("SPLIT", u32::from(split))])
}

/// Records `y = silu(gate) * up` for the first `rows` rows, where `gate_up` is `[gate | up]`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `gate_up` | `(rows, 2 width)` | read |
/// | `y` | `(rows, width)` | written |
///
/// Kernel: `shaders/mlp/swiglu.wgsl`. Oracle: `reference::swiglu`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn swiglu(
    rec: &mut Recording,
    gate_up: &Activation,
    y: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    same("swiglu", "width of gate and up", gate_up.width, 2 * y.width)?;
    holds("swiglu", "rows of gate and up", gate_up.rows, rows)?;
    holds("swiglu", "rows of y", y.rows, rows)?;
    let split = !y.width.is_multiple_of(4);
    let pipeline = rec.device().pipeline(&SWIGLU, &variant(split))?;
    let params = Params {
        rows: rows as u32,
        width: y.width as u32,
        x_stride: gate_up.stride_quads(),
        y_stride: y.stride_quads(),
    };
    let grid = [y.width.div_ceil(4 * LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(
        &pipeline,
        &params,
        &[gate_up.buffer.binding(), y.buffer.binding()],
        grid,
        8 * (rows * y.width) as u64,
    )?;
    Ok(())
}
