//! Low-rank adapters (arXiv 2106.09685): `y += scale B (A x)` for many adapters in one batch, and back.
//!
//! [`lora`] is the forward pass. Each op below is one dispatch for all parts of a site and all adapters of
//! the batch (arXiv 2310.18547). The two factors have the same layout in memory, so three kernels serve six
//! ops:
//!
//! | kernel | computes | with A | with B |
//! |---|---|---|---|
//! | `lora/shrink` | `h = x F^T` | [`lora_shrink`] | [`lora_expand_backward`] |
//! | `lora/expand` | `y += h F` | [`lora_shrink_backward`] | [`lora_expand`] |
//! | `lora/grad_weight` | `dF += h^T x` | [`lora_grad_a`] | [`lora_grad_b`] |
//!
//! A row's result does not depend on its tile or on other rows, bit for bit.

mod kernels;
mod site;

use std::ops::Range;

pub(super) use kernels::{
    APPLY_LANE8, EXPAND_LANE8, EXPAND_TILED, GRAD_WEIGHT_LANE8, GRAD_WEIGHT_TILED, SHRINK_LANE8, SHRINK_TILED,
};
pub use site::{LoraParams, LoraPart, LoraRows, LoraRun, LoraSite, LoraTile};

use kernels::Params;
use site::Factor;

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use crate::gpu::{Buffer, Recording};

/// Records `y[m, n of part p] += scale * sum_j B[n, j] sum_k A[p * rank + j, k] x[m, k]` for the rows of the
/// tiles: the term that an adapter adds to a linear layer.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `params` | `(adapters, adapter_len)` | read |
/// | `x` | `(rows, inputs)` | read |
/// | `h` | `(rows, parts * rank)` | scratch: the tiles' rows may be written |
/// | `y` | `(rows, outputs)` | the tiles' rows added to, in the parts' columns |
///
/// One dispatch if the inner products fit in a workgroup's registers (the lane8 kernels, rank 16 at most),
/// else [`lora_shrink`] and [`lora_expand`], with bit-identical results. A decode step has few rows, so a
/// dispatch costs more than its computation.
///
/// Kernels: `shaders/lora/apply_lane8.wgsl` and those of the two ops. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, lengths or tiles disagree with `site`.
pub fn lora(
    rec: &mut Recording,
    site: &LoraSite,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    x: &Activation,
    h: &Activation,
    y: &Activation,
) -> Result<(), ShapeError> {
    let (a, b) = (site.a("lora")?, site.b("lora")?);
    check_tiles(rec, "lora", &a, params, rows, h, x)?;
    check_tiles(rec, "lora", &b, params, rows, h, y)?;
    let device = rec.device().clone();
    let Some(choice) = kernels::apply(kernels::family(&device), &b, rows) else {
        shrink(rec, "lora", &a, params, rows, x, h, false)?;
        return expand(rec, "lora", &b, params, rows, h, y, true);
    };
    let pipeline = device.pipeline(choice.spec, &choice.variant)?;
    let groups = b.groups(choice.cols);
    let grid = [groups.iter().sum(), rows.n_tiles as u32, 1];
    let uniform = Params::new(&b, 0, &groups, y).for_both(params.adapter_len, &a, x, choice.cols);
    let bindings = [rows.tiles.binding(), params.buffer.binding(), x.buffer.binding(), y.buffer.binding()];
    let flops = 2 * (rows.n_tiles * rows.tile_rows * (a.len() + b.len())) as u64;
    rec.dispatch(&pipeline, &uniform, &bindings, grid, flops)?;
    Ok(())
}

/// Records `h[m, p * rank + j] = sum_k x[m, k] A[p * rank + j, k]` for the rows of the tiles.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `params` | `(adapters, adapter_len)` | read |
/// | `x` | `(rows, inputs)` | read |
/// | `h` | `(rows, parts * rank)` | the tiles' rows written |
///
/// Kernels: `shaders/lora/shrink_*.wgsl`. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, lengths or tiles disagree with `site`.
pub fn lora_shrink(
    rec: &mut Recording,
    site: &LoraSite,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    x: &Activation,
    h: &Activation,
) -> Result<(), ShapeError> {
    shrink(rec, "lora_shrink", &site.a("lora_shrink")?, params, rows, x, h, false)
}

/// Records `y[m, n of part p] += scale * sum_j h[m, p * rank + j] B[n, j]` for the rows of the tiles.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `params` | `(adapters, adapter_len)` | read |
/// | `h` | `(rows, parts * rank)` | read |
/// | `y` | `(rows, outputs)` | the tiles' rows added to, in the parts' columns |
///
/// Kernels: `shaders/lora/expand_*.wgsl`. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, lengths or tiles disagree with `site`.
pub fn lora_expand(
    rec: &mut Recording,
    site: &LoraSite,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    h: &Activation,
    y: &Activation,
) -> Result<(), ShapeError> {
    expand(rec, "lora_expand", &site.b("lora_expand")?, params, rows, h, y, true)
}

/// Records `d_h[m, p * rank + j] = scale * sum_(n of p) d_y[m, n] B[n, j]` for the rows of the tiles:
/// the gradient of [`lora_expand`] by `h`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `params` | `(adapters, adapter_len)` | read |
/// | `d_y` | `(rows, outputs)` | read |
/// | `d_h` | `(rows, parts * rank)` | the tiles' rows written |
///
/// Kernels: `shaders/lora/shrink_*.wgsl`. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, lengths or tiles disagree with `site`.
pub fn lora_expand_backward(
    rec: &mut Recording,
    site: &LoraSite,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    d_y: &Activation,
    d_h: &Activation,
) -> Result<(), ShapeError> {
    shrink(rec, "lora_expand_backward", &site.b("lora_expand_backward")?, params, rows, d_y, d_h, true)
}

/// Records `d_x[m, k] += sum_j d_h[m, j] A[j, k]` for the rows of the tiles: the gradient of
/// [`lora_shrink`] by `x`, added to that of the frozen weights.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `params` | `(adapters, adapter_len)` | read |
/// | `d_h` | `(rows, parts * rank)` | read |
/// | `d_x` | `(rows, inputs)` | the tiles' rows added to |
///
/// Kernels: `shaders/lora/expand_*.wgsl`. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, lengths or tiles disagree with `site`.
pub fn lora_shrink_backward(
    rec: &mut Recording,
    site: &LoraSite,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    d_h: &Activation,
    d_x: &Activation,
) -> Result<(), ShapeError> {
    expand(rec, "lora_shrink_backward", &site.a("lora_shrink_backward")?, params, rows, d_h, d_x, false)
}

/// Records `grads[grads_at + site.a ..] += d_h^T x` over `rows`, all of one adapter.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `d_h` | `(rows, parts * rank)` | read |
/// | `x` | `(rows, inputs)` | read |
/// | `grads` | an adapter's parameters from `grads_at` on, a multiple of 4 | A added to, padding not |
///
/// Kernels: `shaders/lora/grad_weight_*.wgsl`. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or lengths disagree with `site`.
pub fn lora_grad_a(
    rec: &mut Recording,
    site: &LoraSite,
    rows: Range<usize>,
    d_h: &Activation,
    x: &Activation,
    grads: &Buffer<f32>,
    grads_at: usize,
) -> Result<(), ShapeError> {
    grad_weight(rec, "lora_grad_a", &site.a("lora_grad_a")?, rows, 1.0, d_h, x, grads, grads_at)
}

/// Records `grads[grads_at + site.b ..] += scale * h^T d_y`, part by part, over `rows`, all of one
/// adapter.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `h` | `(rows, parts * rank)` | read |
/// | `d_y` | `(rows, outputs)` | read |
/// | `grads` | an adapter's parameters from `grads_at` on, a multiple of 4 | B added to, padding not |
///
/// Kernels: `shaders/lora/grad_weight_*.wgsl`. Oracle: `reference::lora`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or lengths disagree with `site`.
#[expect(clippy::too_many_arguments, reason = "one argument per operand of the formula")]
pub fn lora_grad_b(
    rec: &mut Recording,
    site: &LoraSite,
    rows: Range<usize>,
    scale: f32,
    h: &Activation,
    d_y: &Activation,
    grads: &Buffer<f32>,
    grads_at: usize,
) -> Result<(), ShapeError> {
    grad_weight(rec, "lora_grad_b", &site.b("lora_grad_b")?, rows, scale, h, d_y, grads, grads_at)
}

/// Checks the operands of the two kernels that work on tiles.
fn check_tiles(
    rec: &Recording,
    op: &'static str,
    factor: &Factor,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    h: &Activation,
    wide: &Activation,
) -> Result<(), ShapeError> {
    same(op, "width of h", h.width, factor.h_width())?;
    same(op, "width of x or y", wide.width, factor.width)?;
    same(op, "remainder of an adapter's length by 32", params.adapter_len % 32, 0)?;
    holds(op, "length of an adapter", params.adapter_len, factor.place.end)?;
    holds(op, "length of the parameters", params.buffer.len(), params.adapter_len)?;
    holds(op, "number of tiles", rows.tiles.len(), rows.n_tiles)?;
    holds(op, "rows that a tile may have", LoraTile::most_rows(rec.device()), rows.tile_rows)
}

#[expect(clippy::too_many_arguments, reason = "those of the op, and which op it is")]
fn shrink(
    rec: &mut Recording,
    op: &'static str,
    factor: &Factor,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    x: &Activation,
    h: &Activation,
    scaled: bool,
) -> Result<(), ShapeError> {
    check_tiles(rec, op, factor, params, rows, h, x)?;
    let device = rec.device().clone();
    let choice = kernels::shrink(kernels::family(&device), factor, rows.tile_rows);
    let pipeline = device.pipeline(choice.spec, &choice.variant)?;
    let groups = vec![factor.rank.div_ceil(choice.outputs) as u32; factor.parts.len()];
    let grid = [rows.n_tiles as u32, groups.iter().sum(), 1];
    let uniform = Params::new(factor, 0, &groups, x).for_tiles(params.adapter_len, scaled, h);
    let bindings = [rows.tiles.binding(), params.buffer.binding(), x.buffer.binding(), h.buffer.binding()];
    let flops = 2 * (rows.n_tiles * rows.tile_rows * factor.len()) as u64;
    rec.dispatch(&pipeline, &uniform, &bindings, grid, flops)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "those of the op, and which op it is")]
fn expand(
    rec: &mut Recording,
    op: &'static str,
    factor: &Factor,
    params: LoraParams<'_>,
    rows: LoraRows<'_>,
    h: &Activation,
    y: &Activation,
    scaled: bool,
) -> Result<(), ShapeError> {
    check_tiles(rec, op, factor, params, rows, h, y)?;
    let device = rec.device().clone();
    let choice = kernels::expand(kernels::family(&device), factor, rows.tile_rows);
    let pipeline = device.pipeline(choice.spec, &choice.variant)?;
    let groups = factor.groups(choice.cols);
    let grid = [groups.iter().sum(), rows.n_tiles as u32, 1];
    let uniform = Params::new(factor, 0, &groups, y).for_tiles(params.adapter_len, scaled, h);
    let bindings = [rows.tiles.binding(), params.buffer.binding(), h.buffer.binding(), y.buffer.binding()];
    let flops = 2 * (rows.n_tiles * rows.tile_rows * factor.len()) as u64;
    rec.dispatch(&pipeline, &uniform, &bindings, grid, flops)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "those of the op, and which op it is")]
fn grad_weight(
    rec: &mut Recording,
    op: &'static str,
    factor: &Factor,
    rows: Range<usize>,
    scale: f32,
    h: &Activation,
    x: &Activation,
    grads: &Buffer<f32>,
    grads_at: usize,
) -> Result<(), ShapeError> {
    same(op, "width of h", h.width, factor.h_width())?;
    same(op, "width of x or y", x.width, factor.width)?;
    holds(op, "rows of h", h.rows, rows.end)?;
    holds(op, "rows of x or y", x.rows, rows.end)?;
    same(op, "remainder of the gradients' place by 4", grads_at % 4, 0)?;
    holds(op, "length of the gradients", grads.len(), grads_at + factor.place.end)?;
    if rows.is_empty() {
        return Ok(());
    }
    let device = rec.device().clone();
    let choice = kernels::grad_weight(kernels::family(&device), factor);
    let pipeline = device.pipeline(choice.spec, &choice.variant)?;
    let groups = factor.groups(choice.cols);
    let grid = [groups.iter().sum(), factor.rank.div_ceil(choice.outputs) as u32, 1];
    let flops = 2 * (rows.len() * factor.len()) as u64;
    let uniform = Params::new(factor, grads_at, &groups, x).for_rows(rows, scale, h);
    let bindings = [h.buffer.binding(), x.buffer.binding(), grads.binding()];
    rec.dispatch(&pipeline, &uniform, &bindings, grid, flops)?;
    Ok(())
}
