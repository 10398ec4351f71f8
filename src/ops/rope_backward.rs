//! The gradient of the rotation.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::attention::AttentionShape;
use super::error::{ShapeError, holds, same};
use super::rope::RopeTable;
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    heads: u32,
    half: u32,
    stride: u32,
    head_dim: u32,
    pad: [u32; 3],
}

/// `rope/rope_backward`.
pub(super) const ROPE_BACKWARD: KernelSpec = KernelSpec {
    name: "rope/rope_backward",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || vec![lanes()],
};

const LANES: u32 = 32;

fn lanes() -> Specialization {
    Specialization::new(&[], &[("WG", LANES)])
}

/// Records the gradients of q and k before the rotation, computed in place from those of the rotated q
/// and k, for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `d_qkv` | `(rows, (heads + 2 kv_heads) head_dim)` | columns of q and k rewritten |
/// | `rows_at` | `(rows)`: base and position, as for [`rope`](super::rope) | read |
///
/// Kernel: `shaders/rope/rope_backward.wgsl`. Oracle: `reference::rope::rope_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or the table's rotated width disagree with `shape`.
pub fn rope_backward(
    rec: &mut Recording,
    shape: &AttentionShape,
    d_qkv: &Activation,
    rows_at: &Buffer<[u32; 2]>,
    table: &RopeTable,
    rows: usize,
) -> Result<(), ShapeError> {
    let op = "rope_backward";
    same(op, "width of d_qkv", d_qkv.width, (shape.heads + 2 * shape.kv_heads) * shape.head_dim)?;
    holds(op, "width of a head", shape.head_dim, table.rotary)?;
    holds(op, "rows of d_qkv", d_qkv.rows, rows)?;
    holds(op, "rows of bases and positions", rows_at.len(), rows)?;
    let pipeline = rec.device().pipeline(&ROPE_BACKWARD, &lanes())?;
    let heads = shape.heads + shape.kv_heads;
    let half = table.rotary / 2;
    let params = Params {
        rows: rows as u32,
        heads: heads as u32,
        half: half as u32,
        stride: d_qkv.stride as u32,
        head_dim: shape.head_dim as u32,
        pad: [0; 3],
    };
    let bindings = [rows_at.binding(), table.buffer.binding(), d_qkv.buffer.binding()];
    let grid = [(heads * half).div_ceil(LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(&pipeline, &params, &bindings, grid, 6 * (rows * heads * half) as u64)?;
    Ok(())
}
