//! `d_x = d_y W`: gradients through frozen, quantized weights.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::linear::{Store, operands};
use super::weight::{Weight, each_weight, operand_slot, slots};
use crate::gpu::{Access, KernelFamily, KernelSpec, Loads, Recording, Specialization};
use crate::quant::Quant;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    first: u32,
    outputs: u32,
    inputs: u32,
    blocks: u32,
    y_stride: u32,
    x_stride: u32,
    adds: u32,
    x_row: u32,
    pad: [u32; 3],
}

const WORDS: Access = Access::Slot("weight_words");

/// `linear/matmul_transposed_lane8`.
pub(super) const MATMUL_TRANSPOSED_LANE8: KernelSpec = KernelSpec {
    name: "linear/matmul_transposed_lane8",
    params_bytes: size_of::<Params>(),
    bindings: &[WORDS, WORDS, Access::Slot("operand"), Access::Write],
    variants: || each_weight(|quant, loads| vec![lane8(quant, loads)]),
};

/// `linear/matmul_transposed_tiled`.
pub(super) const MATMUL_TRANSPOSED_TILED: KernelSpec = KernelSpec {
    name: "linear/matmul_transposed_tiled",
    params_bytes: size_of::<Params>(),
    bindings: &[WORDS, WORDS, Access::Read, Access::Write],
    variants: || each_weight(|quant, loads| vec![tiled(quant, loads)]),
};

/// Rows of d_x per workgroup of the lane8 kernel. On llvmpipe this is a tenth faster than four rows;
/// sixteen rows take longer to compile than they save.
const LANE8_ROWS: usize = 8;
/// Rows, and columns, of the tiled kernel's tile.
const TILE: usize = 64;

fn lane8(quant: Quant, loads: Loads) -> Specialization {
    let [words, weight] = slots(quant, loads);
    Specialization::new(&[words, operand_slot(loads), weight], &[("MT", LANE8_ROWS as u32)])
}

fn tiled(quant: Quant, loads: Loads) -> Specialization {
    Specialization::new(&slots(quant, loads), &[])
}

/// Records `d_x = d_y W`, or `d_x += d_y W`, for the first `rows` rows: the gradient of
/// [`linear`](super::linear()) by its input. It does not depend on a bias.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `w` | `(outputs, inputs)`, any [`Quant`] | read |
/// | `d_y` | `(rows, outputs)` | read |
/// | `d_x` | `(rows, inputs)` | every element written |
///
/// Kernels: `shaders/linear/matmul_transposed_*`. Oracle: `reference::linear_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if `d_y` or `d_x` disagrees with `w` or holds fewer than `rows` rows.
pub fn linear_backward(
    rec: &mut Recording,
    w: &Weight,
    d_y: &Activation,
    d_x: &Activation,
    rows: usize,
    store: Store,
) -> Result<(), ShapeError> {
    same("linear_backward", "width of d_y", d_y.width, w.rows())?;
    same("linear_backward", "width of d_x", d_x.width, w.cols())?;
    holds("linear_backward", "rows of d_y", d_y.rows, rows)?;
    holds("linear_backward", "rows of d_x", d_x.rows, rows)?;
    let device = rec.device().clone();
    for (index, slice) in w.slices.iter().enumerate() {
        let (quant, loads) = (slice.quant, slice.quants.loads());
        let (spec, variant, tile_rows, tile_blocks) = match device.family(&["linear/matmul_transposed"]) {
            KernelFamily::Lane8 => (&MATMUL_TRANSPOSED_LANE8, lane8(quant, loads), LANE8_ROWS, 1),
            KernelFamily::Tiled => (&MATMUL_TRANSPOSED_TILED, tiled(quant, loads), TILE, TILE / 32),
        };
        let pipeline = device.pipeline(spec, &variant)?;
        for (row, rows, operand) in operands(&device, variant.is_texture(spec.bindings[2]), d_y, rows)? {
            let params = Params {
                rows: rows as u32,
                first: slice.first_row as u32,
                outputs: slice.rows as u32,
                inputs: w.cols() as u32,
                blocks: w.blocks() as u32,
                y_stride: d_y.stride_quads(),
                x_stride: d_x.stride_quads(),
                // Each slice adds a part of the sum.
                adds: u32::from(store == Store::Add || index > 0),
                x_row: row as u32,
                pad: [0; 3],
            };
            let bindings = [slice.quants.binding(), slice.scales.binding(), operand, d_x.buffer.binding()];
            let grid = [w.blocks().div_ceil(tile_blocks) as u32, rows.div_ceil(tile_rows) as u32, 1];
            let flops = 2 * rows as u64 * slice.rows as u64 * w.cols() as u64;
            rec.dispatch(&pipeline, &params, &bindings, grid, flops)?;
        }
    }
    Ok(())
}
