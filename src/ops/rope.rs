//! Rotary position embedding, and the write into the KV cache.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::attention::{AttentionShape, KvFormat};
use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, Buffer, Device, DeviceError, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    heads: u32,
    kv_heads: u32,
    qkv_stride: u32,
}

/// `rope/rope`.
pub(super) const ROPE: KernelSpec = KernelSpec {
    name: "rope/rope",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    variants: || {
        let formats = [KvFormat::F16, KvFormat::F32];
        let whole = TESTED_HEAD_DIMS.into_iter().map(|head_dim| (head_dim, head_dim));
        let dims = whole.chain(TESTED_ROTARY);
        dims.flat_map(|(head_dim, rotary)| formats.map(|kv| variant(kv, head_dim, rotary))).collect()
    },
};

/// Head widths in the registry: common ones, and odd ones that reach every branch.
pub(super) const TESTED_HEAD_DIMS: [usize; 7] = [6, 16, 64, 80, 96, 128, 256];

/// Head widths of which only the first dimensions are rotated, in the registry.
pub(super) const TESTED_ROTARY: [(usize, usize); 2] = [(16, 6), (128, 96)];

const LANES: u32 = 32;

fn variant(kv: KvFormat, head_dim: usize, rotary: usize) -> Specialization {
    let consts = [("WG", LANES), ("HEAD_DIM", head_dim as u32), ("ROTARY", rotary as u32)];
    Specialization::new(&[("kv_write", kv.write_fragment())], &consts)
}

/// Cosine and sine of every position and frequency, `(positions, rotary / 2)` pairs, where `rotary` is the number of
/// dimensions of a head that are rotated.
#[derive(Clone, Debug)]
pub struct RopeTable {
    pub(super) buffer: Buffer<[f32; 2]>,
    pub(super) rotary: usize,
    positions: usize,
}

impl RopeTable {
    /// The table of `inverse_frequencies` (one per pair of dimensions, in radians per position) for
    /// positions `0..positions`. Angles are rounded to f32 before their cosine, as PyTorch does. `magnitude` is a
    /// factor of cosines and sines, 1 for a plain rotation: YaRN's attention factor (arXiv 2309.00071).
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if it exceeds a binding.
    pub fn new(
        device: &Device,
        inverse_frequencies: &[f32],
        magnitude: f32,
        positions: usize,
    ) -> Result<Self, DeviceError> {
        let angles = (0..positions).flat_map(|position| {
            inverse_frequencies.iter().map(move |&frequency| f64::from(position as f32 * frequency))
        });
        let turn = |angle: f64| [angle.cos() as f32 * magnitude, angle.sin() as f32 * magnitude];
        let table: Vec<[f32; 2]> = angles.map(turn).collect();
        Ok(RopeTable {
            buffer: device.upload("rope table", &table)?,
            rotary: 2 * inverse_frequencies.len(),
            positions,
        })
    }

    /// Number of positions in the table: the length of the longest sequence.
    pub fn positions(&self) -> usize {
        self.positions
    }
}

/// Records the rotation of q and k, and the append of k and v to the cache, for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `qkv` | `(rows, (heads + 2 kv_heads) head_dim)` | read |
/// | `rows_at` | `(rows)`: the cache position at which its sequence begins, and its position there | read |
/// | `q` | `(rows, heads * head_dim rounded up to 32)` | written |
/// | `k`, `v` | [`AttentionShape::cache_len`] words each | one position per row written |
///
/// The caller must keep positions below [`RopeTable::positions`], and their keys inside the cache.
/// Kernel: `shaders/rope/rope.wgsl`. Oracle: `reference::rope`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths, rows or the table's rotated width disagree with `shape`.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn rope(
    rec: &mut Recording,
    shape: &AttentionShape,
    qkv: &Activation,
    rows_at: &Buffer<[u32; 2]>,
    table: &RopeTable,
    q: &Activation,
    k: &Buffer<u32>,
    v: &Buffer<u32>,
    rows: usize,
) -> Result<(), ShapeError> {
    same("rope", "width of qkv", qkv.width, (shape.heads + 2 * shape.kv_heads) * shape.head_dim)?;
    same("rope", "width of q", q.width, shape.q_width())?;
    holds("rope", "width of a head", shape.head_dim, table.rotary)?;
    holds("rope", "rows of qkv", qkv.rows, rows)?;
    holds("rope", "rows of q", q.rows, rows)?;
    holds("rope", "rows of bases and positions", rows_at.len(), rows)?;
    same("rope", "length of k", k.len(), shape.cache_len())?;
    same("rope", "length of v", v.len(), shape.cache_len())?;
    let pipeline = rec.device().pipeline(&ROPE, &variant(shape.kv, shape.head_dim, table.rotary))?;
    let params = Params {
        rows: rows as u32,
        heads: shape.heads as u32,
        kv_heads: shape.kv_heads as u32,
        qkv_stride: qkv.stride as u32,
    };
    let units = q.width / 8 + 2 * shape.kv_heads * shape.head_dim.div_ceil(8);
    let bindings = [
        qkv.buffer.binding(),
        rows_at.binding(),
        table.buffer.binding(),
        q.buffer.binding(),
        k.binding(),
        v.binding(),
    ];
    let grid = [units.div_ceil(LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(&pipeline, &params, &bindings, grid, 6 * (rows * qkv.width) as u64)?;
    Ok(())
}
