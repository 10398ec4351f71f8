//! Gathering and scattering rows of an activation by index.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    quads: u32,
    x_stride: u32,
    y_stride: u32,
    first: u32,
    indexed_rows: u32,
    pad: [u32; 2],
}

/// `rows/gather`.
pub(super) const GATHER: KernelSpec = KernelSpec {
    name: "rows/gather",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || vec![lanes()],
};

/// `rows/scatter`.
pub(super) const SCATTER: KernelSpec = KernelSpec {
    name: "rows/scatter",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || vec![lanes()],
};

const LANES: u32 = 64;

fn lanes() -> Specialization {
    Specialization::new(&[], &[("WG", LANES)])
}

/// Records `y[i] = x[index[first + i]]` for `i` below `rows`. An index beyond `x` leaves its row
/// unchanged.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `x` | `(any, width)` | read |
/// | `index` | `(first + rows)` | read |
/// | `y` | `(rows, width)`, another buffer than `x` | written |
///
/// Kernel: `shaders/rows/gather.wgsl`. Oracle: `reference::gather_rows`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn gather_rows(
    rec: &mut Recording,
    x: &Activation,
    index: &Buffer<u32>,
    first: usize,
    y: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    same("gather_rows", "width of y", y.width, x.width)?;
    holds("gather_rows", "number of indices", index.len(), first + rows)?;
    holds("gather_rows", "rows of y", y.rows, rows)?;
    record(rec, &GATHER, x, index, first, y, rows, x.rows)
}

/// Records `d_x[index[first + i]] = d_y[i]` for `i` below `rows`: the gradient of [`gather_rows`] with
/// distinct indices. Other rows of `d_x` are unchanged, and an index beyond `d_x` is dropped.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `d_y` | `(rows, width)` | read |
/// | `index` | `(first + rows)`, no two alike | read |
/// | `d_x` | `(any, width)`, another buffer than `d_y` | rows of the indices written |
///
/// Kernel: `shaders/rows/scatter.wgsl`. Oracle: `reference::scatter_rows`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn scatter_rows(
    rec: &mut Recording,
    d_y: &Activation,
    index: &Buffer<u32>,
    first: usize,
    d_x: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    same("scatter_rows", "width of d_x", d_x.width, d_y.width)?;
    holds("scatter_rows", "number of indices", index.len(), first + rows)?;
    holds("scatter_rows", "rows of d_y", d_y.rows, rows)?;
    record(rec, &SCATTER, d_y, index, first, d_x, rows, d_x.rows)
}

#[expect(clippy::too_many_arguments, reason = "the arguments of the two ops, and the op")]
fn record(
    rec: &mut Recording,
    spec: &'static KernelSpec,
    x: &Activation,
    index: &Buffer<u32>,
    first: usize,
    y: &Activation,
    rows: usize,
    indexed_rows: usize,
) -> Result<(), ShapeError> {
    let quads = x.width.div_ceil(4);
    let params = Params {
        rows: rows as u32,
        quads: quads as u32,
        x_stride: x.stride_quads(),
        y_stride: y.stride_quads(),
        first: first as u32,
        indexed_rows: indexed_rows as u32,
        pad: [0; 2],
    };
    let pipeline = rec.device().pipeline(spec, &lanes())?;
    let bindings = [x.buffer.binding(), index.binding(), y.buffer.binding()];
    let grid = [quads.div_ceil(LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(&pipeline, &params, &bindings, grid, (rows * x.width) as u64)?;
    Ok(())
}
