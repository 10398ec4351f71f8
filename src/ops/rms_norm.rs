//! RMS normalisation of rows, and of the heads of q and k.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::linear::Store;
use crate::gpu::{Access, Buffer, Device, KernelFamily, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    quads: u32,
    x_stride: u32,
    y_stride: u32,
    width: f32,
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
    offset: u32,
    eps: f32,
    pad0: u32,
    pad1: u32,
}

/// `norm/rms_norm`.
pub(super) const RMS_NORM: KernelSpec = KernelSpec {
    name: "norm/rms_norm",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || {
        let stores = [Store::Overwrite, Store::Add];
        FAMILIES.into_iter().flat_map(|family| stores.map(|store| storing(family, store))).collect()
    },
};

/// `norm/head_norm`.
pub(super) const HEAD_NORM: KernelSpec = KernelSpec {
    name: "norm/head_norm",
    params_bytes: size_of::<HeadParams>(),
    bindings: &[Access::Read, Access::Write],
    variants: reductions,
};

const FAMILIES: [KernelFamily; 2] = [KernelFamily::Lane8, KernelFamily::Tiled];

fn reductions() -> Vec<Specialization> {
    FAMILIES.map(row_reduction).to_vec()
}

/// One row per workgroup: a single subgroup of 8, or 128 lanes through workgroup memory.
pub(super) fn row_reduction(family: KernelFamily) -> Specialization {
    let (fragment, lanes) = match family {
        KernelFamily::Lane8 => ("reduce/subgroup", 8),
        KernelFamily::Tiled => ("reduce/workgroup", 128),
    };
    Specialization::new(&[("reduce", fragment)], &[("WG", lanes), ("GROUP_LANES", lanes)])
}

/// A row reduction whose result replaces the old values, or is added to them.
pub(super) fn storing(family: KernelFamily, store: Store) -> Specialization {
    let mut variant = row_reduction(family);
    variant.consts.push(("ADD", u32::from(store == Store::Add)));
    variant
}

/// A grid of `n` workgroups, folded into two axes if one axis is too short.
pub(super) fn folded(device: &Device, n: usize) -> [u32; 3] {
    let width = n.min(device.capabilities().max_grid as usize).max(1);
    [width as u32, n.div_ceil(width) as u32, 1]
}

/// Records `y =` or `+= x / sqrt(mean(x^2) + eps) * weight` for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `x` | `(rows, width)` | read |
/// | `weight` | `x.stride`, zero beyond the width | read |
/// | `y` | `(rows, width)`, another buffer than `x` | every element written |
///
/// Kernel: `shaders/norm/rms_norm.wgsl`. Oracle: `reference::rms_norm`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn rms_norm(
    rec: &mut Recording,
    x: &Activation,
    weight: &Buffer<f32>,
    eps: f32,
    y: &Activation,
    rows: usize,
    store: Store,
) -> Result<(), ShapeError> {
    same("rms_norm", "width of y", y.width, x.width)?;
    same("rms_norm", "length of weight", weight.len(), x.stride)?;
    holds("rms_norm", "rows of x", x.rows, rows)?;
    holds("rms_norm", "rows of y", y.rows, rows)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&RMS_NORM, &storing(device.family(&[RMS_NORM.name]), store))?;
    let params = Params {
        rows: rows as u32,
        quads: x.stride_quads(),
        x_stride: x.stride_quads(),
        y_stride: y.stride_quads(),
        width: x.width as f32,
        eps,
        pad0: 0,
        pad1: 0,
    };
    let bindings = [x.buffer.binding(), weight.binding(), y.buffer.binding()];
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows), 4 * (rows * x.width) as u64)?;
    Ok(())
}

/// Records the RMS norm of `heads` heads of `weight.len()` values each, in place, in columns
/// `offset..` of the first `rows` rows.
///
/// Kernel: `shaders/norm/head_norm.wgsl`. Oracle: `reference::head_norm`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if the heads do not fit the row, or there are too few rows.
pub fn head_norm(
    rec: &mut Recording,
    x: &Activation,
    weight: &Buffer<f32>,
    eps: f32,
    offset: usize,
    heads: usize,
    rows: usize,
) -> Result<(), ShapeError> {
    let head_dim = weight.len();
    holds("head_norm", "width of x", x.width, offset + heads * head_dim)?;
    holds("head_norm", "rows of x", x.rows, rows)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&HEAD_NORM, &row_reduction(device.family(&[HEAD_NORM.name])))?;
    let params = HeadParams {
        rows: rows as u32,
        heads: heads as u32,
        head_dim: head_dim as u32,
        x_stride: x.stride as u32,
        offset: offset as u32,
        eps,
        pad0: 0,
        pad1: 0,
    };
    let bindings = [weight.binding(), x.buffer.binding()];
    let flops = 4 * (rows * heads * head_dim) as u64;
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows * heads), flops)?;
    Ok(())
}
