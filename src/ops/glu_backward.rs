//! Gradients of the gated linear unit.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::glu::{Gate, LANES, variant, variants};
use crate::gpu::{Access, KernelSpec, Recording};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    d_y_stride: u32,
    d_x_stride: u32,
    pad: [u32; 3],
}

/// `mlp/glu_backward`.
pub(super) const GLU_BACKWARD: KernelSpec = KernelSpec {
    name: "mlp/glu_backward",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants,
};

/// Records the gradients of [`glu`](super::glu) with respect to `[gate | up]` for the first `rows`
/// rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `gate_up` | `(rows, 2 width)`, the input of the forward op | read |
/// | `d_gated` | `(rows, width)`, the gradient of its output | read |
/// | `d_gate_up` | `(rows, 2 width)` | written |
///
/// Kernel: `shaders/mlp/glu_backward.wgsl`. Oracle: `reference::glu_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn glu_backward(
    rec: &mut Recording,
    gate: Gate,
    gate_up: &Activation,
    d_gated: &Activation,
    d_gate_up: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    let width = d_gated.width;
    same("glu_backward", "width of gate and up", gate_up.width, 2 * width)?;
    same("glu_backward", "width of their gradient", d_gate_up.width, 2 * width)?;
    holds("glu_backward", "rows of gate and up", gate_up.rows, rows)?;
    holds("glu_backward", "rows of d_gated", d_gated.rows, rows)?;
    holds("glu_backward", "rows of d_gate_up", d_gate_up.rows, rows)?;
    let split = !width.is_multiple_of(4);
    let pipeline = rec.device().pipeline(&GLU_BACKWARD, &variant(gate, split))?;
    let params = Params {
        rows: rows as u32,
        width: width as u32,
        x_stride: gate_up.stride_quads(),
        d_y_stride: d_gated.stride_quads(),
        d_x_stride: d_gate_up.stride_quads(),
        pad: [0; 3],
    };
    let bindings = [gate_up.buffer.binding(), d_gated.buffer.binding(), d_gate_up.buffer.binding()];
    let quads = if split { (2 * width).div_ceil(4) } else { width / 4 };
    let grid = [quads.div_ceil(LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(&pipeline, &params, &bindings, grid, 16 * (rows * width) as u64)?;
    Ok(())
}
