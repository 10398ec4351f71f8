//! `y = x W^T`: matrix products with frozen, quantized weights.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::weight::{Slice, Weight, each_weight, operand_slot, slots};
use crate::gpu::{
    Access, Binding, Device, DeviceError, KernelFamily, KernelSpec, Lane8Tile, Loads, Recording,
    Specialization, Tile,
};
use crate::quant::Quant;

/// How a product is stored in its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The old values are replaced.
    Overwrite,
    /// The product is added to the old values: the residual stream.
    Add,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    blocks: u32,
    x_stride: u32,
    y_stride: u32,
    y_offset: u32,
    bias_offset: u32,
    pad: u32,
}

const WORDS: Access = Access::Slot("weight_words");
const BINDINGS: &[Access] = &[WORDS, WORDS, Access::Read, Access::Read, Access::Write];

/// `linear/matmul_lane8`.
pub(super) const MATMUL_LANE8: KernelSpec = KernelSpec {
    name: "linear/matmul_lane8",
    params_bytes: size_of::<Params>(),
    bindings: &[WORDS, WORDS, Access::Slot("operand"), Access::Read, Access::Write],
    variants: || {
        each_format(|quant, loads, flags| {
            let tiles = TILES.iter().filter(|&&tile| has_tile(loads, flags, tile));
            tiles.map(|&(mt, tn)| lane8(quant, loads, mt, tn, flags)).collect()
        })
    },
};

/// `linear/matmul_tiled`.
pub(super) const MATMUL_TILED: KernelSpec = KernelSpec {
    name: "linear/matmul_tiled",
    params_bytes: size_of::<Params>(),
    bindings: BINDINGS,
    variants: || each_format(|quant, loads, flags| vec![tiled(quant, loads, flags)]),
};

/// `linear/matvec_tiled`.
pub(super) const MATVEC_TILED: KernelSpec = KernelSpec {
    name: "linear/matvec_tiled",
    params_bytes: size_of::<Params>(),
    bindings: BINDINGS,
    variants: || {
        each_format(|quant, loads, flags| {
            let shapes = MATVEC_TILES.into_iter().flat_map(|mt| [(mt, false), (mt, true)]);
            shapes.map(|(mt, subgroups)| matvec(quant, loads, mt, subgroups, flags)).collect()
        })
    },
};

/// Rows of x and columns per lane of the lane8 tiles: those for few rows, and those of
/// [`Lane8Tile`](crate::gpu::Lane8Tile).
const TILES: [(u32, u32); 7] = [(1, 2), (1, 4), (2, 4), (4, 4), (4, 2), (8, 4), (16, 8)];

/// Whether a product may use a tile. Drivers need three seconds to compile the tile of 16 rows: too long for the
/// few products with a bias. Where loads cost little, the tile of 8 rows is as fast as others.
fn has_tile(loads: Loads, (bias, _): Flags, tile: (u32, u32)) -> bool {
    match loads {
        Loads::Buffers => !(bias && tile.0 > 8),
        Loads::Textures => tile != Lane8Tile::Small.shape() && tile != Lane8Tile::Large.shape(),
    }
}

/// Rows of x of the tiles of `matvec_tiled`.
const MATVEC_TILES: [u32; 4] = [1, 2, 4, 8];

/// Lanes that share an output in `matvec_tiled`.
const MATVEC_LANES: u32 = 16;
const MATVEC_WORKGROUP: u32 = 128;

/// `HAS_BIAS` and `ADD`.
type Flags = (bool, bool);

fn each_format(make: impl Fn(Quant, Loads, Flags) -> Vec<Specialization>) -> Vec<Specialization> {
    let flags = [(false, false), (true, false), (false, true), (true, true)];
    each_weight(|quant, loads| flags.iter().flat_map(|&flags| make(quant, loads, flags)).collect())
}

fn with_flags(mut consts: Vec<(&'static str, u32)>, (bias, add): Flags) -> Vec<(&'static str, u32)> {
    consts.extend([("HAS_BIAS", u32::from(bias)), ("ADD", u32::from(add))]);
    consts
}

fn lane8(quant: Quant, loads: Loads, mt: u32, tn: u32, flags: Flags) -> Specialization {
    // Fully unrolled, a block of a tile of 8 rows is 80 KiB of WGSL and no faster.
    let consts = with_flags(vec![("MT", mt), ("TN", tn), ("WHOLE", u32::from(mt < 8))], flags);
    let [words, weight] = slots(quant, loads);
    Specialization::new(&[words, operand_slot(loads), weight], &consts)
}

fn tiled(quant: Quant, loads: Loads, flags: Flags) -> Specialization {
    Specialization::new(&slots(quant, loads), &with_flags(Vec::new(), flags))
}

fn matvec(quant: Quant, loads: Loads, mt: u32, subgroups: bool, flags: Flags) -> Specialization {
    let reduce = if subgroups { "reduce/subgroup" } else { "reduce/workgroup" };
    let consts = vec![("MT", mt), ("WG", MATVEC_WORKGROUP), ("GROUP_LANES", MATVEC_LANES)];
    let [words, weight] = slots(quant, loads);
    Specialization::new(&[words, weight, ("reduce", reduce)], &with_flags(consts, flags))
}

/// The kernel, its variant, and the outputs and rows that one workgroup covers.
struct Choice {
    spec: &'static KernelSpec,
    variant: Specialization,
    cols: usize,
    rows: usize,
}

/// The operand of a product that is no weight, as the kernel reads it: from its buffer, or from a texture in runs
/// of rows that fit it. Each run is its first row, its number of rows, and the binding.
pub(super) fn operands(
    device: &Device,
    from_texture: bool,
    x: &Activation,
    rows: usize,
) -> Result<Vec<(usize, usize, Binding)>, DeviceError> {
    if !from_texture {
        return Ok(vec![(0, rows, x.buffer.binding())]);
    }
    let most = device.operand_rows(x.stride);
    let runs = (0..rows).step_by(most).map(|first| {
        let rows = most.min(rows - first);
        Ok((first, rows, device.operand(&x.buffer, first * x.stride, rows * x.stride)?))
    });
    runs.collect()
}

/// The kernel for a tile.
fn choice(tile: Tile, quant: Quant, loads: Loads, flags: Flags) -> Choice {
    match tile {
        Tile::Lane8 { rows, cols } => Choice {
            spec: &MATMUL_LANE8,
            variant: lane8(quant, loads, rows, cols, flags),
            cols: 8 * cols as usize,
            rows: rows as usize,
        },
        Tile::Matvec { rows, subgroups } => Choice {
            spec: &MATVEC_TILED,
            variant: matvec(quant, loads, rows, subgroups, flags),
            cols: (MATVEC_WORKGROUP / MATVEC_LANES) as usize,
            rows: rows as usize,
        },
        Tile::Tiled => {
            Choice { spec: &MATMUL_TILED, variant: tiled(quant, loads, flags), cols: 64, rows: 64 }
        }
    }
}

/// Rows of x up to which the family `tiled` uses `matvec_tiled`. It is the same on every device, because the
/// kernels' sums differ in their last bits.
const MATVEC_ROWS: usize = 16;

/// The tile where nothing was measured.
fn usual_tile(
    device: &Device,
    family: KernelFamily,
    loads: Loads,
    outputs: usize,
    rows: usize,
    flags: Flags,
) -> Tile {
    match family {
        KernelFamily::Lane8 => {
            let (full, cols) = match device.tuning().lane8_tile.shape() {
                tile if has_tile(loads, flags, tile) => tile,
                _ => Lane8Tile::Middle.shape(),
            };
            // Maximum number of computed rows, including empty ones at the end, in percent of the rows that
            // tiles of four rows compute in the same time.
            let most = if full > 8 { 200 } else { 104 };
            let (rows, cols) = match rows {
                // llvmpipe splits a dispatch between two threads and needs at least 16 workgroups.
                1 if outputs < 512 => (1, 2),
                1 => (1, 4),
                2 => (2, 4),
                _ if rows.next_multiple_of(full as usize) * 100 <= rows.next_multiple_of(4) * most => {
                    (full, cols)
                }
                _ => (4, 4),
            };
            Tile::Lane8 { rows, cols }
        }
        KernelFamily::Tiled if rows <= MATVEC_ROWS => Tile::Matvec {
            rows: rows.next_power_of_two().min(8) as u32,
            subgroups: adds_by_subgroups(device),
        },
        KernelFamily::Tiled => Tile::Tiled,
    }
}

/// Whether lanes of `matvec_tiled` can add their sums by subgroup operations.
fn adds_by_subgroups(device: &Device) -> bool {
    let capabilities = device.capabilities();
    capabilities.subgroups && capabilities.subgroup_sizes.0 >= MATVEC_LANES
}

/// Whether a product of `rows` rows can use `tile` on `device`. Measurements may come from a damaged file.
fn can_use(
    device: &Device,
    family: KernelFamily,
    loads: Loads,
    rows: usize,
    flags: Flags,
    tile: Tile,
) -> bool {
    family == tile.family()
        && match tile {
            Tile::Lane8 { rows, cols } => {
                TILES.contains(&(rows, cols)) && has_tile(loads, flags, (rows, cols))
            }
            Tile::Matvec { rows: tile_rows, subgroups } => {
                rows <= MATVEC_ROWS
                    && MATVEC_TILES.contains(&tile_rows)
                    && (!subgroups || adds_by_subgroups(device))
            }
            Tile::Tiled => rows > MATVEC_ROWS,
        }
}

/// The tiles of `family` that a product of `rows` rows without a bias can use on `device`, the usual one first.
/// Those that compute mostly empty rows are left out.
pub(crate) fn linear_tiles(
    device: &Device,
    family: KernelFamily,
    loads: Loads,
    outputs: usize,
    rows: usize,
) -> Vec<Tile> {
    let flags = (false, false);
    let usual = usual_tile(device, family, loads, outputs, rows, flags);
    let fits = |tile: &Tile| tile.rows() <= rows.next_power_of_two() && tile.rows() * 2 >= rows.min(8);
    let lane8 = TILES.into_iter().map(|(rows, cols)| Tile::Lane8 { rows, cols });
    let matvec = MATVEC_TILES
        .into_iter()
        .flat_map(|rows| [true, false].map(|subgroups| Tile::Matvec { rows, subgroups }));
    let others = lane8
        .chain(matvec)
        .chain([Tile::Tiled])
        .filter(|tile| *tile != usual && fits(tile) && can_use(device, family, loads, rows, flags, *tile));
    [usual].into_iter().chain(others).collect()
}

fn choose(device: &Device, slice: &Slice, rows: usize, flags: Flags) -> Choice {
    let (quant, loads) = (slice.quant, slice.quants.loads());
    let family = device.family(&["linear/matmul", "linear/matvec"]);
    let allowed = |tile| can_use(device, family, loads, rows, flags, tile);
    let fastest = device.tuning().fastest(quant.name(), loads, slice.rows, rows, allowed);
    let tile = fastest.unwrap_or_else(|| usual_tile(device, family, loads, slice.rows, rows, flags));
    choice(tile, quant, loads, flags)
}

/// Records `y = x W^T + bias`, or `y += x W^T + bias`, for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `w` | `(outputs, inputs)`, any [`Quant`] | read |
/// | `x` | `(rows, inputs)` | read |
/// | `y` | `(rows, outputs)` | every element written |
///
/// Kernels: `shaders/linear/`. Oracle: `reference::linear`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if `x` or `y` disagrees with `w` or holds fewer than `rows` rows.
pub fn linear(
    rec: &mut Recording,
    w: &Weight,
    x: &Activation,
    y: &Activation,
    rows: usize,
    store: Store,
) -> Result<(), ShapeError> {
    linear_by(rec, w, x, y, rows, store, None)
}

/// [`linear()`] with the same tile for all rows and formats, for measurements.
pub(crate) fn linear_by(
    rec: &mut Recording,
    w: &Weight,
    x: &Activation,
    y: &Activation,
    rows: usize,
    store: Store,
    tile: Option<Tile>,
) -> Result<(), ShapeError> {
    same("linear", "width of x", x.width, w.cols())?;
    same("linear", "width of y", y.width, w.rows())?;
    holds("linear", "rows of x", x.rows, rows)?;
    holds("linear", "rows of y", y.rows, rows)?;
    let device = rec.device().clone();
    for slice in &w.slices {
        let flags = (w.bias.is_some(), store == Store::Add);
        let choice = match tile {
            Some(tile) => choice(tile, slice.quant, slice.quants.loads(), flags),
            None => choose(&device, slice, rows, flags),
        };
        let pipeline = device.pipeline(choice.spec, &choice.variant)?;
        let bias = w.bias.as_ref().map_or_else(|| device.unused(), |bias| bias.binding());
        let from_texture = choice.variant.is_texture(choice.spec.bindings[2]);
        for (row, rows, operand) in operands(&device, from_texture, x, rows)? {
            let params = Params {
                rows: rows as u32,
                cols: slice.rows as u32,
                blocks: w.blocks() as u32,
                x_stride: x.stride_quads(),
                y_stride: y.stride as u32,
                y_offset: (row * y.stride + slice.first_row) as u32,
                bias_offset: slice.first_row as u32,
                pad: 0,
            };
            let bindings =
                [slice.quants.binding(), slice.scales.binding(), operand, bias.clone(), y.buffer.binding()];
            let grid = [slice.rows.div_ceil(choice.cols) as u32, rows.div_ceil(choice.rows) as u32, 1];
            let flops = 2 * rows as u64 * slice.rows as u64 * w.cols() as u64;
            rec.dispatch(&pipeline, &params, &bindings, grid, flops)?;
        }
    }
    Ok(())
}
