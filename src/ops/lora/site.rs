//! The layout of a linear layer's factors, and the adapter of each row.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::kernels;
use crate::gpu::{Buffer, Device};
use crate::ops::error::{ShapeError, holds, same};

/// Rows of the batch with the same adapter, in the layout that kernels read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct LoraTile {
    /// First row of the batch.
    pub first_row: u32,
    /// Number of rows, 1 or more.
    pub rows: u32,
    /// Index of the adapter in the parameter buffer.
    pub adapter: u32,
    /// Factor of `B (A x)`.
    pub scale: f32,
}

/// Any number of consecutive rows of the batch with the same adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraRun {
    /// First row of the batch.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Index of the adapter in the parameter buffer.
    pub adapter: usize,
    /// Factor of `B (A x)`.
    pub scale: f32,
}

impl LoraTile {
    /// The tiles of `runs`, of at most `most` rows each.
    pub fn cut(runs: &[LoraRun], most: usize) -> Vec<LoraTile> {
        let tiles = runs.iter().flat_map(|run| {
            (0..run.rows).step_by(most).map(|start| LoraTile {
                first_row: (run.first_row + start) as u32,
                rows: most.min(run.rows - start) as u32,
                adapter: run.adapter as u32,
                scale: run.scale,
            })
        });
        tiles.collect()
    }

    /// Maximum number of rows in a tile for the kernels of `device`.
    pub fn most_rows(device: &Device) -> usize {
        kernels::most_rows(kernels::family(device))
    }
}

/// The tiles of a batch. Rows outside the tiles have no adapter and are not changed.
#[derive(Clone, Copy, Debug)]
pub struct LoraRows<'a> {
    /// The tiles, in any order; no row is in two tiles.
    pub tiles: &'a Buffer<LoraTile>,
    /// Number of tiles in use.
    pub n_tiles: usize,
    /// Rows of the largest tile, at most [`LoraTile::most_rows`].
    pub tile_rows: usize,
}

/// The factors of all adapters at one layer, `(adapters, adapter_len)`.
#[derive(Clone, Copy, Debug)]
pub struct LoraParams<'a> {
    /// The factors; [`LoraSite`] describes the layout of each adapter.
    pub buffer: &'a Buffer<f32>,
    /// Distance between two adapters in elements, a multiple of 32.
    pub adapter_len: usize,
}

/// The columns of a stacked linear layer's output that belong to one projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoraPart {
    /// First column.
    pub first_col: usize,
    /// Number of columns, 1 or more.
    pub cols: usize,
}

/// The layout of one linear layer's factors among an adapter's parameters.
///
/// The layer may stack several projections, such as q, k and v; those with a pair of factors are its
/// parts. Part `p` has rows `p * rank..(p + 1) * rank` of A, `(parts * rank, a_stride)`. B is stored
/// transposed, `(rank, b_stride)`, and part `p` has the columns from [`LoraSite::b_column`] on. Both
/// are a few long rows, so the same kernels serve the forward and the backward pass. Padding is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraSite {
    /// Rank of the factors (R), a multiple of 4: factors of another rank are padded with zeros.
    pub rank: usize,
    /// Width of x.
    pub inputs: usize,
    /// Width of y.
    pub outputs: usize,
    /// One to three parts, from left to right; columns between parts have no factors.
    pub parts: Vec<LoraPart>,
    /// Start of A, a multiple of 32.
    pub a: usize,
    /// Start of the transposed B, a multiple of 32.
    pub b: usize,
}

impl LoraSite {
    /// Distance between two rows of A in elements.
    pub fn a_stride(&self) -> usize {
        self.inputs.next_multiple_of(32)
    }

    /// Distance between two rows of the transposed B in elements.
    pub fn b_stride(&self) -> usize {
        self.b_column(self.parts.len())
    }

    /// First column of a part in the transposed B; each part has a multiple of 32 columns.
    pub fn b_column(&self, part: usize) -> usize {
        self.parts[..part].iter().map(|part| part.cols.next_multiple_of(32)).sum()
    }

    /// Elements of A.
    pub fn a_len(&self) -> usize {
        self.h_width() * self.a_stride()
    }

    /// Elements of the transposed B.
    pub fn b_len(&self) -> usize {
        self.rank * self.b_stride()
    }

    /// Columns of `h = A x`, all parts together.
    pub fn h_width(&self) -> usize {
        self.parts.len() * self.rank
    }

    /// Refuses layouts that the kernels cannot address.
    fn check(&self, op: &'static str) -> Result<(), ShapeError> {
        same(op, "remainder of the rank by 4", self.rank % 4, 0)?;
        holds(op, "rank", self.rank, 4)?;
        holds(op, "number of parts", self.parts.len(), 1)?;
        holds(op, "number of parts that a site may have", 3, self.parts.len())?;
        same(op, "remainder of A's place by 32", self.a % 32, 0)?;
        same(op, "remainder of B's place by 32", self.b % 32, 0)?;
        let mut end = 0;
        for part in &self.parts {
            holds(op, "first column of a part", part.first_col, end)?;
            holds(op, "columns of a part", part.cols, 1)?;
            end = part.first_col + part.cols;
        }
        holds(op, "width of y", self.outputs, end)
    }

    /// A in the form that kernels use: one part, because all parts have the same x.
    pub(super) fn a(&self, op: &'static str) -> Result<Factor, ShapeError> {
        self.check(op)?;
        let part = FactorPart { first_col: 0, cols: self.inputs, at: self.a };
        Ok(Factor::new(
            self.h_width(),
            self.a_stride(),
            self.inputs,
            vec![part],
            self.a..self.a + self.a_len(),
        ))
    }

    /// The transposed B in the form that kernels use.
    pub(super) fn b(&self, op: &'static str) -> Result<Factor, ShapeError> {
        self.check(op)?;
        let part = |(index, part): (usize, &LoraPart)| FactorPart {
            first_col: part.first_col,
            cols: part.cols,
            at: self.b + self.b_column(index),
        };
        let parts = self.parts.iter().enumerate().map(part).collect();
        Ok(Factor::new(self.rank, self.b_stride(), self.outputs, parts, self.b..self.b + self.b_len()))
    }
}

/// One factor of a site: a few long rows, in parts that belong to different columns of x or y.
pub(super) struct Factor {
    /// Rows of a part.
    pub rank: usize,
    /// Distance between two rows in elements.
    pub stride: usize,
    /// Width of the x or y that the columns belong to.
    pub width: usize,
    pub parts: Vec<FactorPart>,
    /// Whether four columns of x or y may be read at once.
    pub aligned: bool,
    /// Its range of elements in an adapter.
    pub place: Range<usize>,
}

pub(super) struct FactorPart {
    /// First column of x or y.
    pub first_col: usize,
    pub cols: usize,
    /// Index of the first element.
    pub at: usize,
}

impl Factor {
    fn new(rank: usize, stride: usize, width: usize, parts: Vec<FactorPart>, place: Range<usize>) -> Self {
        // After the last column there are zeros up to the stride.
        let whole = |part: &FactorPart| part.cols.is_multiple_of(4) || part.first_col + part.cols == width;
        let aligned = parts.iter().all(|part| part.first_col.is_multiple_of(4) && whole(part));
        Factor { rank, stride, width, parts, aligned, place }
    }

    /// Elements of all parts.
    pub fn len(&self) -> usize {
        self.rank * self.parts.iter().map(|part| part.cols).sum::<usize>()
    }

    /// Columns of h.
    pub fn h_width(&self) -> usize {
        self.rank * self.parts.len()
    }

    /// Groups of `cols` columns in each part.
    pub fn groups(&self, cols: usize) -> Vec<u32> {
        self.parts.iter().map(|part| part.cols.div_ceil(cols) as u32).collect()
    }
}
