//! Token embeddings.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::weight::{Weight, each_weight, slots};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    blocks: u32,
    y_stride: u32,
    first_id: u32,
    table_rows: u32,
    factor: f32,
    pad: [u32; 2],
}

/// `embed/embed`.
pub(super) const EMBED: KernelSpec = KernelSpec {
    name: "embed/embed",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Slot("weight_words"), Access::Slot("weight_words"), Access::Read, Access::Write],
    variants: || each_weight(|quant, loads| vec![variant(slots(quant, loads))]),
};

const LANES: u32 = 32;

fn variant(slots: [(&'static str, &'static str); 2]) -> Specialization {
    Specialization::new(&slots, &[("WG", LANES)])
}

/// Records `y[row] = factor table[ids[row]]` for the first `rows` rows. An id beyond the table leaves its
/// row unchanged; ids are checked earlier.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `table` | `(vocabulary, width)`, any [`Quant`](crate::quant::Quant) | read |
/// | `ids` | `(rows)` | read |
/// | `y` | `(rows, width)` | written |
///
/// Kernel: `shaders/embed/embed.wgsl`. Oracle: `reference::embed`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn embed(
    rec: &mut Recording,
    table: &Weight,
    factor: f32,
    ids: &Buffer<u32>,
    y: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    same("embed", "width of y", y.width, table.cols())?;
    holds("embed", "number of ids", ids.len(), rows)?;
    holds("embed", "rows of y", y.rows, rows)?;
    for slice in &table.slices {
        let pipeline = rec.device().pipeline(&EMBED, &variant(slice.slots()))?;
        let params = Params {
            rows: rows as u32,
            blocks: table.blocks() as u32,
            y_stride: y.stride_quads(),
            first_id: slice.first_row as u32,
            table_rows: slice.rows as u32,
            factor,
            pad: [0; 2],
        };
        let bindings = [slice.quants.binding(), slice.scales.binding(), ids.binding(), y.buffer.binding()];
        let grid = [table.blocks().div_ceil(LANES as usize) as u32, rows as u32, 1];
        rec.dispatch(&pipeline, &params, &bindings, grid, 2 * (rows * table.cols()) as u64)?;
    }
    Ok(())
}
