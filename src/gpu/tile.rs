//! How a product with a quantized weight is divided among workgroups.

use serde::{Deserialize, Serialize};

use super::tuning::KernelFamily;

/// The kernel of a product `x W^T`, and the part of it that one workgroup computes.
///
/// [`Tile::Lane8`] of any shape gives the same bits. So do [`Tile::Matvec`] of any number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Tile {
    /// `linear/matmul_lane8`.
    Lane8 {
        /// Rows of x.
        rows: u32,
        /// Columns per lane.
        cols: u32,
    },
    /// `linear/matvec_tiled`, for up to 16 rows of x.
    Matvec {
        /// Rows of x.
        rows: u32,
        /// Whether lanes add their sums by subgroup operations.
        subgroups: bool,
    },
    /// `linear/matmul_tiled`: 64 rows of x by 64 columns.
    Tiled,
}

impl Tile {
    /// The family of the kernel.
    pub fn family(self) -> KernelFamily {
        match self {
            Tile::Lane8 { .. } => KernelFamily::Lane8,
            Tile::Matvec { .. } | Tile::Tiled => KernelFamily::Tiled,
        }
    }

    /// Rows of x.
    pub fn rows(self) -> usize {
        match self {
            Tile::Lane8 { rows, .. } | Tile::Matvec { rows, .. } => rows as usize,
            Tile::Tiled => 64,
        }
    }
}

/// Short text for tables, such as `lane8 8x4`.
impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tile::Lane8 { rows, cols } => write!(f, "lane8 {rows}x{cols}"),
            Tile::Matvec { rows, subgroups: true } => write!(f, "matvec {rows}, subgroups"),
            Tile::Matvec { rows, subgroups: false } => write!(f, "matvec {rows}"),
            Tile::Tiled => write!(f, "tiled 64x64"),
        }
    }
}
