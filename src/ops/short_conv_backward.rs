//! The gradient of gated short convolutions.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::attention::{KvFormat, QueryTile};
use super::attention_backward::KeyTile;
use super::error::{ShapeError, holds, same};
use super::short_conv::{LANES, ShortConvShape, TESTED_TAPS};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct GateParams {
    tiles: u32,
    width: u32,
    taps_stride: u32,
    d_y_stride: u32,
    d_stride: u32,
    pad: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct InputParams {
    tiles: u32,
    width: u32,
    x_stride: u32,
    taps_stride: u32,
    d_y_stride: u32,
    d_stride: u32,
    pad: [u32; 2],
}

const BINDINGS: &[Access] =
    &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write];

/// `conv/short_conv_backward_gate`.
pub(super) const SHORT_CONV_BACKWARD_GATE: KernelSpec = KernelSpec {
    name: "conv/short_conv_backward_gate",
    params_bytes: size_of::<GateParams>(),
    bindings: BINDINGS,
    variants: || {
        let formats = [KvFormat::F16, KvFormat::F32];
        formats.into_iter().flat_map(|kv| TESTED_TAPS.map(|taps| gate_variant(kv, taps))).collect()
    },
};

/// `conv/short_conv_backward_input`.
pub(super) const SHORT_CONV_BACKWARD_INPUT: KernelSpec = KernelSpec {
    name: "conv/short_conv_backward_input",
    params_bytes: size_of::<InputParams>(),
    bindings: BINDINGS,
    variants: || [0, 1].into_iter().flat_map(|split| TESTED_TAPS.map(|taps| variant(taps, split))).collect(),
};

fn gate_variant(kv: KvFormat, taps: usize) -> Specialization {
    Specialization::new(&[("conv_read", kv.conv_read())], &[("WG", LANES), ("TAPS", taps as u32)])
}

fn variant(taps: usize, split: u32) -> Specialization {
    Specialization::new(&[], &[("WG", LANES), ("TAPS", taps as u32), ("SPLIT", split)])
}

/// Records the gradients of B, C and x through [`short_conv`](super::short_conv) and
/// [`short_conv_input`](super::short_conv_input) for whole sequences: all rows of each, from position 0 on, one after
/// another. The branches of a sequence come behind its shared rows. The taps are frozen.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `query_tiles` | `(n_query_tiles)`, of at most `tile_rows` rows each | read |
/// | `key_tiles` | `(n_key_tiles)`, of the same rows | read |
/// | `rows_at` | `(rows)`: the base of its sequence, and its position: its input is at their sum in the cache | read |
/// | `bcx` | `(rows, 3 width)`: B, C and x | read |
/// | `u` | [`ShortConvShape::cache_len`] words | read |
/// | `taps` | [`ShortConvShape::taps_len`] values | read |
/// | `d_y` | `(rows, width)` | read |
/// | `d_bcx` | `(rows, 3 width)` | the tiles' rows written |
///
/// No sum depends on the tiles. Kernels: `shaders/conv/short_conv_backward_*`. Oracle:
/// `reference::short_conv_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or lengths disagree with `shape`.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn short_conv_backward(
    rec: &mut Recording,
    shape: &ShortConvShape,
    query_tiles: &Buffer<QueryTile>,
    n_query_tiles: usize,
    tile_rows: usize,
    key_tiles: &Buffer<KeyTile>,
    n_key_tiles: usize,
    rows_at: &Buffer<[u32; 2]>,
    bcx: &Activation,
    u: &Buffer<u32>,
    taps: &Buffer<f32>,
    d_y: &Activation,
    d_bcx: &Activation,
) -> Result<(), ShapeError> {
    let op = "short_conv_backward";
    same(op, "width of B, C and x", bcx.width, 3 * shape.width)?;
    same(op, "length of u", u.len(), shape.cache_len())?;
    same(op, "length of taps", taps.len(), shape.taps_len())?;
    same(op, "width of d_y", d_y.width, shape.width)?;
    same(op, "width of d_bcx", d_bcx.width, 3 * shape.width)?;
    holds(op, "number of query tiles", query_tiles.len(), n_query_tiles)?;
    holds(op, "number of key tiles", key_tiles.len(), n_key_tiles)?;
    let device = rec.device().clone();
    let taps_stride = (shape.taps_stride() / 4) as u32;
    let width = shape.width as u32;

    let pipeline = device.pipeline(&SHORT_CONV_BACKWARD_GATE, &gate_variant(shape.kv, shape.taps))?;
    let params = GateParams {
        tiles: n_query_tiles as u32,
        width,
        taps_stride,
        d_y_stride: d_y.stride_quads(),
        d_stride: d_bcx.stride as u32,
        pad: [0; 3],
    };
    let bindings = [
        query_tiles.binding(),
        rows_at.binding(),
        u.binding(),
        taps.binding(),
        d_y.buffer.binding(),
        d_bcx.buffer.binding(),
    ];
    let grid = [shape.column_groups(), n_query_tiles as u32, tile_rows as u32];
    let terms = |rows: usize| 2 * (rows * shape.width * (shape.taps + 1)) as u64;
    rec.dispatch(&pipeline, &params, &bindings, grid, terms(n_query_tiles * tile_rows))?;

    let pipeline = device.pipeline(&SHORT_CONV_BACKWARD_INPUT, &variant(shape.taps, shape.split()))?;
    let params = InputParams {
        tiles: n_key_tiles as u32,
        width,
        x_stride: bcx.stride_quads(),
        taps_stride,
        d_y_stride: d_y.stride_quads(),
        d_stride: d_bcx.stride as u32,
        pad: [0; 2],
    };
    let bindings = [
        key_tiles.binding(),
        rows_at.binding(),
        bcx.buffer.binding(),
        taps.binding(),
        d_y.buffer.binding(),
        d_bcx.buffer.binding(),
    ];
    let rows = n_key_tiles * KeyTile::MAX_ROWS;
    let grid = [shape.column_groups(), n_key_tiles as u32, KeyTile::MAX_ROWS as u32];
    rec.dispatch(&pipeline, &params, &bindings, grid, 2 * terms(rows))?;
    Ok(())
}
