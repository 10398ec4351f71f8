//! Scalar heads, which score a hidden state: reward and value. Their weights are f32 and trainable.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::rms_norm::{folded, row_reduction};
use crate::gpu::{Access, Buffer, KernelFamily, KernelSpec, Recording, Specialization};

/// Used instead of a head's index: the row has no head, and its value is 0.
pub const NO_HEAD: u32 = u32::MAX;

/// Length of one head over `hidden` values: the weights, zeros up to the next multiple of 32, the bias,
/// and zeros up to the next multiple of 32.
pub fn scalar_head_len(hidden: usize) -> usize {
    hidden.next_multiple_of(32) + 32
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    quads: u32,
    x_stride: u32,
    first: u32,
    n_heads: u32,
    head_stride: u32,
    bias_at: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BackwardParams {
    rows: u32,
    width: u32,
    x_stride: u32,
    d_x_stride: u32,
    first: u32,
    n_heads: u32,
    head_stride: u32,
    bias_at: u32,
}

/// `head/scalar_head`.
pub(super) const SCALAR_HEAD: KernelSpec = KernelSpec {
    name: "head/scalar_head",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Write],
    variants: || [KernelFamily::Lane8, KernelFamily::Tiled].map(row_reduction).to_vec(),
};

/// `head/scalar_head_backward`.
pub(super) const SCALAR_HEAD_BACKWARD: KernelSpec = KernelSpec {
    name: "head/scalar_head_backward",
    params_bytes: size_of::<BackwardParams>(),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: || vec![lanes()],
};

const LANES: u32 = 32;

fn lanes() -> Specialization {
    Specialization::new(&[], &[("WG", LANES)])
}

/// Records `values[first + i] = hidden[i] . weight + bias` for `i` below `rows`, with the head of index
/// `head_of[first + i]`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `hidden` | `(rows, width)` | read |
/// | `heads` | `(n, `[`scalar_head_len`]`)`, at least one | read |
/// | `head_of` | `(first + rows)`; [`NO_HEAD`], or any other beyond the heads, gives 0 | read |
/// | `values` | `(first + rows)` | `first..` written |
///
/// Kernel: `shaders/head/scalar_head.wgsl`. Oracle: `reference::scalar_head`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if `heads` is not whole heads, or there are too few rows of anything.
pub fn scalar_head(
    rec: &mut Recording,
    hidden: &Activation,
    heads: &Buffer<f32>,
    head_of: &Buffer<u32>,
    values: &Buffer<f32>,
    first: usize,
    rows: usize,
) -> Result<(), ShapeError> {
    let len = scalar_head_len(hidden.width);
    whole_heads("scalar_head", heads, len)?;
    holds("scalar_head", "rows of hidden", hidden.rows, rows)?;
    holds("scalar_head", "number of heads' indices", head_of.len(), first + rows)?;
    holds("scalar_head", "number of values", values.len(), first + rows)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&SCALAR_HEAD, &row_reduction(device.family(&[SCALAR_HEAD.name])))?;
    let params = Params {
        rows: rows as u32,
        quads: hidden.width.div_ceil(4) as u32,
        x_stride: hidden.stride_quads(),
        first: first as u32,
        n_heads: (heads.len() / len) as u32,
        head_stride: (len / 4) as u32,
        bias_at: (hidden.width.next_multiple_of(32) / 4) as u32,
        pad: 0,
    };
    let bindings = [hidden.buffer.binding(), heads.binding(), head_of.binding(), values.binding()];
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows), 2 * (rows * hidden.width) as u64)?;
    Ok(())
}

/// Records the gradients of [`scalar_head`]. `d_hidden[i] += d_value weight`, because hidden states have
/// other consumers. `grads` accumulates the gradients of weights and bias of the heads below
/// `n_trainable`, summed over their rows in order.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `hidden` | `(rows, width)` | read |
/// | `heads` | `(n, `[`scalar_head_len`]`)`, at least one | read |
/// | `head_of` | `(first + rows)` | read |
/// | `d_values` | `(first + rows)` | read |
/// | `d_hidden` | `(rows, width)`, another buffer than `hidden` | added to |
/// | `grads` | `(n_trainable, `[`scalar_head_len`]`)` | added to |
///
/// Kernel: `shaders/head/scalar_head_backward.wgsl`. Oracle: `reference::scalar_head_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if `heads` is not whole heads or has fewer than `n_trainable`, or there are
/// too few rows of anything.
#[expect(clippy::too_many_arguments, reason = "the arguments of scalar_head and their gradients")]
pub fn scalar_head_backward(
    rec: &mut Recording,
    hidden: &Activation,
    heads: &Buffer<f32>,
    head_of: &Buffer<u32>,
    d_values: &Buffer<f32>,
    d_hidden: &Activation,
    grads: &Buffer<f32>,
    n_trainable: usize,
    first: usize,
    rows: usize,
) -> Result<(), ShapeError> {
    let len = scalar_head_len(hidden.width);
    whole_heads("scalar_head_backward", heads, len)?;
    same("scalar_head_backward", "width of d_hidden", d_hidden.width, hidden.width)?;
    holds("scalar_head_backward", "number of heads", heads.len() / len, n_trainable)?;
    holds("scalar_head_backward", "length of grads", grads.len(), n_trainable * len)?;
    holds("scalar_head_backward", "rows of hidden", hidden.rows, rows)?;
    holds("scalar_head_backward", "rows of d_hidden", d_hidden.rows, rows)?;
    holds("scalar_head_backward", "number of heads' indices", head_of.len(), first + rows)?;
    holds("scalar_head_backward", "number of d_values", d_values.len(), first + rows)?;
    let pipeline = rec.device().pipeline(&SCALAR_HEAD_BACKWARD, &lanes())?;
    let params = BackwardParams {
        rows: rows as u32,
        width: hidden.width as u32,
        x_stride: hidden.stride_quads(),
        d_x_stride: d_hidden.stride_quads(),
        first: first as u32,
        n_heads: (heads.len() / len) as u32,
        head_stride: (len / 4) as u32,
        bias_at: (hidden.width.next_multiple_of(32) / 4) as u32,
    };
    let bindings = [
        hidden.buffer.binding(),
        heads.binding(),
        head_of.binding(),
        d_values.binding(),
        d_hidden.buffer.binding(),
        grads.binding(),
    ];
    let quads = hidden.width.div_ceil(4) + 1;
    let grid = [quads.div_ceil(LANES as usize) as u32, (rows + n_trainable) as u32, 1];
    let flops = 2 * (rows * (1 + n_trainable) * hidden.width) as u64;
    rec.dispatch(&pipeline, &params, &bindings, grid, flops)?;
    Ok(())
}

fn whole_heads(op: &'static str, heads: &Buffer<f32>, len: usize) -> Result<(), ShapeError> {
    same(op, "length of heads", heads.len(), heads.len().next_multiple_of(len).max(len))
}
