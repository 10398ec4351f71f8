//! Gated short convolutions (LFM2, arXiv 2511.23404): a layer's other way to mix positions.
//!
//! The first projection of such a layer gives `B`, `C` and `x`. The input `u = B x` of each position goes to a cache, as
//! keys and values do. The result is `C` times a causal filter over the inputs of the last positions.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::attention::{KvFormat, QueryTile};
use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

/// The shape of a short convolution with its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortConvShape {
    /// Columns: the width of the residual stream.
    pub width: usize,
    /// Taps of the filter: the row's own position and those before it.
    pub taps: usize,
    /// Positions of the cache, all slots together.
    pub positions: usize,
    /// Storage format of the cache.
    pub kv: KvFormat,
}

impl ShortConvShape {
    /// Words of the inputs of one position.
    pub fn position_words(&self) -> usize {
        self.width.div_ceil(8) * self.kv.chunk_words()
    }

    /// Words of one layer's cache, `(positions, chunks of 8 columns)`.
    pub fn cache_len(&self) -> usize {
        self.positions * self.position_words()
    }

    /// Distance of two taps in the buffer of taps, in values.
    pub(super) fn taps_stride(&self) -> usize {
        self.width.next_multiple_of(32)
    }

    /// Values of the buffer of taps, `(taps + 1, width rounded up to 32)`: the earliest position's tap first, the bias
    /// last.
    pub fn taps_len(&self) -> usize {
        (self.taps + 1) * self.taps_stride()
    }

    /// The buffer of taps, from the taps of each column, `(width, taps)`, and the bias, if there is one.
    ///
    /// # Panics
    ///
    /// If the lengths disagree with the shape.
    pub fn taps_buffer(&self, taps: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        assert_eq!(taps.len(), self.width * self.taps, "one tap for each column and position");
        let stride = self.taps_stride();
        let mut buffer = vec![0.0; self.taps_len()];
        for (column, taps) in taps.chunks_exact(self.taps).enumerate() {
            for (tap, &value) in taps.iter().enumerate() {
                buffer[tap * stride + column] = value;
            }
        }
        if let Some(bias) = bias {
            buffer[self.taps * stride..][..self.width].copy_from_slice(bias);
        }
        buffer
    }

    /// Whether the parts of the first projection begin inside a `vec4`.
    pub(super) fn split(&self) -> u32 {
        u32::from(!self.width.is_multiple_of(4))
    }

    /// Workgroups for the columns, 4 to a lane.
    pub(super) fn column_groups(&self) -> u32 {
        self.width.div_ceil(4 * LANES as usize) as u32
    }
}

impl KvFormat {
    pub(super) fn conv_write(self) -> &'static str {
        match self {
            KvFormat::F16 => "conv/write_f16",
            KvFormat::F32 => "conv/write_f32",
        }
    }

    pub(super) fn conv_read(self) -> &'static str {
        match self {
            KvFormat::F16 => "conv/read_f16",
            KvFormat::F32 => "conv/read_f32",
        }
    }
}

pub(super) const LANES: u32 = 64;

/// Numbers of taps in the registry: LFM2's, and others.
pub(super) const TESTED_TAPS: [usize; 3] = [1, 3, 4];

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct InputParams {
    rows: u32,
    width: u32,
    x_stride: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    tiles: u32,
    width: u32,
    x_stride: u32,
    taps_stride: u32,
    y_stride: u32,
    pad: [u32; 3],
}

/// `conv/short_conv_input`.
pub(super) const SHORT_CONV_INPUT: KernelSpec = KernelSpec {
    name: "conv/short_conv_input",
    params_bytes: size_of::<InputParams>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || {
        let formats = [KvFormat::F16, KvFormat::F32];
        formats.into_iter().flat_map(|kv| [0, 1].map(|split| input_variant(kv, split))).collect()
    },
};

/// `conv/short_conv`.
pub(super) const SHORT_CONV: KernelSpec = KernelSpec {
    name: "conv/short_conv",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    variants: || {
        let formats = [KvFormat::F16, KvFormat::F32];
        let kinds = formats.into_iter().flat_map(|kv| [0, 1].map(|split| (kv, split)));
        kinds.flat_map(|(kv, split)| TESTED_TAPS.map(|taps| variant(kv, taps, split))).collect()
    },
};

fn input_variant(kv: KvFormat, split: u32) -> Specialization {
    Specialization::new(&[("conv_write", kv.conv_write())], &[("WG", LANES), ("SPLIT", split)])
}

fn variant(kv: KvFormat, taps: usize, split: u32) -> Specialization {
    let consts = [("WG", LANES), ("TAPS", taps as u32), ("SPLIT", split)];
    Specialization::new(&[("conv_read", kv.conv_read())], &consts)
}

/// Records `u = B x` for the first `rows` rows, and its append to the cache.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `bcx` | `(rows, 3 width)`: B, C and x | read |
/// | `rows_at` | `(rows)`: the cache position at which its sequence begins, and its position there | read |
/// | `u` | [`ShortConvShape::cache_len`] words | one position per row written |
///
/// The caller must keep the positions inside the cache. Kernel: `shaders/conv/short_conv_input.wgsl`. Oracle:
/// `reference::short_conv_input`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or lengths disagree with `shape`.
pub fn short_conv_input(
    rec: &mut Recording,
    shape: &ShortConvShape,
    bcx: &Activation,
    rows_at: &Buffer<[u32; 2]>,
    u: &Buffer<u32>,
    rows: usize,
) -> Result<(), ShapeError> {
    let op = "short_conv_input";
    same(op, "width of B, C and x", bcx.width, 3 * shape.width)?;
    holds(op, "rows of B, C and x", bcx.rows, rows)?;
    holds(op, "rows of bases and positions", rows_at.len(), rows)?;
    same(op, "length of u", u.len(), shape.cache_len())?;
    let pipeline = rec.device().pipeline(&SHORT_CONV_INPUT, &input_variant(shape.kv, shape.split()))?;
    let params =
        InputParams { rows: rows as u32, width: shape.width as u32, x_stride: bcx.stride_quads(), pad: 0 };
    let bindings = [bcx.buffer.binding(), rows_at.binding(), u.binding()];
    let grid = [shape.width.div_ceil(8 * LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(&pipeline, &params, &bindings, grid, 2 * (rows * shape.width) as u64)?;
    Ok(())
}

/// Records `y = C (bias + sum over taps of tap u)` for the rows of `tiles`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `tiles` | `(n_tiles)`, of at most `tile_rows` rows each | read |
/// | `rows_at` | `(rows)`: the base of its sequence, and its position: its input is at their sum in the cache | read |
/// | `bcx` | `(rows, 3 width)`: B, C and x | read |
/// | `u` | [`ShortConvShape::cache_len`] words, as [`short_conv_input`] wrote them | read |
/// | `taps` | [`ShortConvShape::taps_len`] values | read |
/// | `y` | `(rows, width)` | the tiles' rows written |
///
/// Kernel: `shaders/conv/short_conv.wgsl`. Oracle: `reference::short_conv`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or lengths disagree with `shape`.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn short_conv(
    rec: &mut Recording,
    shape: &ShortConvShape,
    tiles: &Buffer<QueryTile>,
    n_tiles: usize,
    tile_rows: usize,
    rows_at: &Buffer<[u32; 2]>,
    bcx: &Activation,
    u: &Buffer<u32>,
    taps: &Buffer<f32>,
    y: &Activation,
) -> Result<(), ShapeError> {
    let op = "short_conv";
    same(op, "width of B, C and x", bcx.width, 3 * shape.width)?;
    same(op, "width of y", y.width, shape.width)?;
    same(op, "length of u", u.len(), shape.cache_len())?;
    same(op, "length of taps", taps.len(), shape.taps_len())?;
    holds(op, "number of tiles", tiles.len(), n_tiles)?;
    let pipeline = rec.device().pipeline(&SHORT_CONV, &variant(shape.kv, shape.taps, shape.split()))?;
    let params = Params {
        tiles: n_tiles as u32,
        width: shape.width as u32,
        x_stride: bcx.stride_quads(),
        taps_stride: (shape.taps_stride() / 4) as u32,
        y_stride: y.stride_quads(),
        pad: [0; 3],
    };
    let bindings = [
        tiles.binding(),
        rows_at.binding(),
        bcx.buffer.binding(),
        u.binding(),
        taps.binding(),
        y.buffer.binding(),
    ];
    let grid = [shape.column_groups(), n_tiles as u32, tile_rows as u32];
    let flops = 2 * (n_tiles * tile_rows * shape.width * (shape.taps + 1)) as u64;
    rec.dispatch(&pipeline, &params, &bindings, grid, flops)?;
    Ok(())
}
