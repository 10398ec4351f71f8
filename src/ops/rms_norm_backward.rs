//! Gradients of RMS normalisation with respect to its input; its weights are frozen.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::linear::Store;
use super::rms_norm::{folded, row_reduction, storing};
use crate::gpu::{Access, Buffer, KernelFamily, KernelSpec, Recording};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    d_y_stride: u32,
    d_x_stride: u32,
    eps: f32,
    pad0: u32,
    pad1: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HeadParams {
    rows: u32,
    heads: u32,
    head_dim: u32,
    x_stride: u32,
    d_stride: u32,
    offset: u32,
    eps: f32,
    pad: u32,
}

/// `norm/rms_norm_backward`.
pub(super) const RMS_NORM_BACKWARD: KernelSpec = KernelSpec {
    name: "norm/rms_norm_backward",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Write],
    variants: || {
        let stores = [Store::Overwrite, Store::Add];
        stores.iter().flat_map(|&store| FAMILIES.map(|family| storing(family, store))).collect()
    },
};

/// `norm/head_norm_backward`.
pub(super) const HEAD_NORM_BACKWARD: KernelSpec = KernelSpec {
    name: "norm/head_norm_backward",
    params_bytes: size_of::<HeadParams>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || FAMILIES.map(row_reduction).to_vec(),
};

const FAMILIES: [KernelFamily; 2] = [KernelFamily::Lane8, KernelFamily::Tiled];

/// Records `d_x =` or `+=` the gradient of [`rms_norm`](super::rms_norm) for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `x` | `(rows, width)`, the input of the norm | read |
/// | `weight` | `x.stride`, zero beyond the width | read |
/// | `d_y` | `(rows, width)` | read |
/// | `d_x` | `(rows, width)`, another buffer than `x` and `d_y` | every element written |
///
/// Kernel: `shaders/norm/rms_norm_backward.wgsl`. Oracle: `reference::rms_norm_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
#[expect(clippy::too_many_arguments, reason = "the arguments of rms_norm, d_y and how to store")]
pub fn rms_norm_backward(
    rec: &mut Recording,
    x: &Activation,
    weight: &Buffer<f32>,
    eps: f32,
    d_y: &Activation,
    d_x: &Activation,
    rows: usize,
    store: Store,
) -> Result<(), ShapeError> {
    same("rms_norm_backward", "width of d_y", d_y.width, x.width)?;
    same("rms_norm_backward", "width of d_x", d_x.width, x.width)?;
    same("rms_norm_backward", "length of weight", weight.len(), x.stride)?;
    holds("rms_norm_backward", "rows of x", x.rows, rows)?;
    holds("rms_norm_backward", "rows of d_y", d_y.rows, rows)?;
    holds("rms_norm_backward", "rows of d_x", d_x.rows, rows)?;
    let device = rec.device().clone();
    let pipeline =
        device.pipeline(&RMS_NORM_BACKWARD, &storing(device.family(&[RMS_NORM_BACKWARD.name]), store))?;
    let params = Params {
        rows: rows as u32,
        width: x.width as u32,
        x_stride: x.stride_quads(),
        d_y_stride: d_y.stride_quads(),
        d_x_stride: d_x.stride_quads(),
        eps,
        pad0: 0,
        pad1: 0,
    };
    let bindings = [x.buffer.binding(), weight.binding(), d_y.buffer.binding(), d_x.buffer.binding()];
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows), 9 * (rows * x.width) as u64)?;
    Ok(())
}

/// Records the gradient of [`head_norm`](super::head_norm), in place. Columns `offset..` of the first
/// `rows` rows of `d` hold the gradient of the normed heads, which is replaced by the gradient of the
/// heads before the norm.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `x` | `(rows, width)`, before the norm | read |
/// | `weight` | `(head_dim)` | read |
/// | `d` | `(rows, width)`, another buffer than `x` | the heads' columns replaced |
///
/// Kernel: `shaders/norm/head_norm_backward.wgsl`. Oracle: `reference::head_norm_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if the heads do not fit the row, or there are too few rows.
#[expect(clippy::too_many_arguments, reason = "the arguments of head_norm and d")]
pub fn head_norm_backward(
    rec: &mut Recording,
    x: &Activation,
    weight: &Buffer<f32>,
    eps: f32,
    offset: usize,
    heads: usize,
    d: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    let head_dim = weight.len();
    holds("head_norm_backward", "width of x", x.width, offset + heads * head_dim)?;
    same("head_norm_backward", "width of d", d.width, x.width)?;
    holds("head_norm_backward", "rows of x", x.rows, rows)?;
    holds("head_norm_backward", "rows of d", d.rows, rows)?;
    let device = rec.device().clone();
    let pipeline =
        device.pipeline(&HEAD_NORM_BACKWARD, &row_reduction(device.family(&[HEAD_NORM_BACKWARD.name])))?;
    let params = HeadParams {
        rows: rows as u32,
        heads: heads as u32,
        head_dim: head_dim as u32,
        x_stride: x.stride as u32,
        d_stride: d.stride as u32,
        offset: offset as u32,
        eps,
        pad: 0,
    };
    let bindings = [x.buffer.binding(), weight.binding(), d.buffer.binding()];
    let flops = 9 * (rows * heads * head_dim) as u64;
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows * heads), flops)?;
    Ok(())
}
