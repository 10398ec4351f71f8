//! The gradient of causal grouped-query attention.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::attention::{AttentionShape, KvFormat, QueryTile, TESTED_CAPPED};
use super::error::{ShapeError, holds, same};
use super::rope::TESTED_HEAD_DIMS;
use super::rounds::rounds_fit;
use crate::gpu::{Access, Binding, Buffer, KernelFamily, KernelSpec, Recording, Specialization};

/// Keys of one sequence at consecutive positions; they share loads of rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct KeyTile {
    /// First key, as a row of the batch.
    pub first_row: u32,
    /// Number of keys.
    pub rows: u32,
    /// End of the rows that may see the keys: all from the keys' own rows on.
    pub end_row: u32,
    /// End of the rows of the keys' own sequence. Those behind it are of branches, in which one row further is not
    /// always one position further.
    pub own_end: u32,
}

impl KeyTile {
    /// Maximum number of keys in a tile.
    pub const MAX_ROWS: usize = 16;

    /// The tiles of whole sequences that are one after another in the batch, `lengths` rows each.
    pub fn cut(lengths: &[usize]) -> Vec<KeyTile> {
        Self::cut_branches(lengths.iter().map(|&length| (length, 0)))
    }

    /// The same for sequences with branches: number of rows, and number of rows of branches that follow them and
    /// see them too. These are runs of their own.
    pub fn cut_branches(runs: impl IntoIterator<Item = (usize, usize)>) -> Vec<KeyTile> {
        let mut tiles = Vec::new();
        let mut first_row = 0;
        for (length, behind) in runs {
            let own_end = (first_row + length) as u32;
            let end_row = own_end + behind as u32;
            for start in (0..length).step_by(Self::MAX_ROWS) {
                let rows = Self::MAX_ROWS.min(length - start) as u32;
                tiles.push(KeyTile { first_row: (first_row + start) as u32, rows, end_row, own_end });
            }
            first_row += length;
        }
        tiles
    }
}

/// Results of the forward pass that the gradient of attention needs.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSaved<'a> {
    /// Queries as written by [`rope`](super::rope).
    pub q: &'a Activation,
    /// Keys, [`AttentionShape::cache_len`] words.
    pub k: &'a Buffer<u32>,
    /// Values, [`AttentionShape::cache_len`] words.
    pub v: &'a Buffer<u32>,
    /// The result of [`attention`](super::attention), `(rows, heads * head_dim)`.
    pub out: &'a Activation,
    /// The log-sum-exp of [`attention`](super::attention), `(rows, heads)`.
    pub lse: &'a Buffer<f32>,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DeltaParams {
    heads: u32,
    head_dim: u32,
    out_stride: u32,
    d_out_stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct QueryParams {
    workgroups: u32,
    v_tiles: u32,
    heads: u32,
    kv_heads: u32,
    positions: u32,
    window: u32,
    d_out_stride: u32,
    d_stride: u32,
    scale: f32,
    cap: f32,
    pad: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct KeyParams {
    workgroups: u32,
    k_tiles: u32,
    heads: u32,
    kv_heads: u32,
    window: u32,
    d_out_stride: u32,
    d_stride: u32,
    scale: f32,
    cap: f32,
    pad: [u32; 3],
}

/// `attention/backward_delta`.
pub(super) const BACKWARD_DELTA: KernelSpec = KernelSpec {
    name: "attention/backward_delta",
    params_bytes: size_of::<DeltaParams>(),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    variants: || vec![lanes()],
};

const BINDINGS: &[Access] = &[
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Write,
];

/// `attention/backward_q_lane8`.
pub(super) const BACKWARD_Q_LANE8: KernelSpec = KernelSpec {
    name: "attention/backward_q_lane8",
    params_bytes: size_of::<QueryParams>(),
    bindings: BINDINGS,
    variants: || walk(KernelFamily::Lane8),
};

/// `attention/backward_q_tiled`.
pub(super) const BACKWARD_Q_TILED: KernelSpec = KernelSpec {
    name: "attention/backward_q_tiled",
    params_bytes: size_of::<QueryParams>(),
    bindings: BINDINGS,
    variants: || walk(KernelFamily::Tiled),
};

/// `attention/backward_kv_lane8`.
pub(super) const BACKWARD_KV_LANE8: KernelSpec = KernelSpec {
    name: "attention/backward_kv_lane8",
    params_bytes: size_of::<KeyParams>(),
    bindings: BINDINGS,
    variants: || walk(KernelFamily::Lane8),
};

/// `attention/backward_kv_tiled`.
pub(super) const BACKWARD_KV_TILED: KernelSpec = KernelSpec {
    name: "attention/backward_kv_tiled",
    params_bytes: size_of::<KeyParams>(),
    bindings: BINDINGS,
    variants: || walk(KernelFamily::Tiled),
};

const LANES: u32 = 64;

fn lanes() -> Specialization {
    Specialization::new(&[], &[("WG", LANES)])
}

/// Every head width with the cache format of training. For the other format, which the cases of attention
/// test in every width, only a width that ends inside a chunk and a common one.
fn walk(family: KernelFamily) -> Vec<Specialization> {
    let mut variants = Vec::new();
    for head_dim in TESTED_HEAD_DIMS {
        for kv in [KvFormat::F16, KvFormat::F32] {
            if kv == KvFormat::F32 || [6, 64].contains(&head_dim) {
                variants.push(variant(kv, head_dim, tile(family, head_dim), false));
            }
            if kv == KvFormat::F32 && TESTED_CAPPED.contains(&head_dim) {
                variants.push(variant(kv, head_dim, tile(family, head_dim), true));
            }
        }
    }
    variants
}

/// Virtual rows or keys per workgroup: fewer for wide heads, whose sums fill registers and workgroup
/// memory. On llvmpipe 16 are a third faster than 8, and 20 no faster.
fn tile(family: KernelFamily, head_dim: usize) -> usize {
    let most = match family {
        KernelFamily::Lane8 => 16,
        KernelFamily::Tiled => 8,
    };
    (most / head_dim.div_ceil(64)).max(1)
}

/// Rounds of the loops of either kernel for `others` keys or virtual rows.
fn rounds(family: KernelFamily, head_dim: usize, mt: usize, others: usize) -> usize {
    let chunks = head_dim.div_ceil(8);
    match family {
        // A step of 8: each chunk, then each of them.
        KernelFamily::Lane8 => others.div_ceil(8) * (1 + chunks + 8),
        // A step of 64: scores by chunk, each row, then those of a split.
        KernelFamily::Tiled => {
            let split = 64usize.div_ceil((64 / chunks).max(1));
            others.div_ceil(64) * (1 + chunks * (1 + mt) + mt + split * (1 + mt))
        }
    }
}

fn variant(kv: KvFormat, head_dim: usize, mt: usize, cap: bool) -> Specialization {
    let consts = [("HEAD_DIM", head_dim as u32), ("MT", mt as u32), ("CAP", u32::from(cap))];
    Specialization::new(&[("kv_read", kv.read_fragment())], &consts)
}

/// Records the gradient of [`attention`](super::attention) for whole sequences: all rows of each, from
/// position 0 on, one after another. The branches of a sequence come behind its shared rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `query_tiles` | `(n_query_tiles)`, of at most `tile_rows` rows each | read |
/// | `key_tiles` | `(n_key_tiles)`, of the same rows | read |
/// | `rows_at` | `(rows)`: the base of its sequence, and its position: its key is at their sum in the cache | read |
/// | `saved` | see [`AttentionSaved`] | read |
/// | `d_out` | `(rows, heads * head_dim)` | read |
/// | `delta` | `(rows, heads, 2)`: log-sum-exp, and `sum(d_out * out)` | written |
/// | `d_qkv` | `(rows, (heads + 2 kv_heads) head_dim)` | the tiles' rows written |
///
/// `d_qkv` is the gradient of the rotated q and k, and of v;
/// [`rope_backward`](super::rope_backward) rotates it back. `reach` is the largest number of positions
/// that a row attends to, and `readers` the largest number of rows that attend to one position. Only the submit
/// budget and a limit of llvmpipe depend on them. No sum depends on the tiles.
/// Kernels: `shaders/attention/backward_*`. Oracle: `reference::attention_backward`.
///
/// # Errors
///
/// * [`ShapeError::Mismatch`] if widths or lengths disagree with `shape`;
/// * [`DeviceError::Limit`](crate::gpu::DeviceError::Limit) if llvmpipe would end a kernel too early: it has a bound
///   of several thousand rows of a sequence, which depends on the heads.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn attention_backward(
    rec: &mut Recording,
    shape: &AttentionShape,
    query_tiles: &Buffer<QueryTile>,
    n_query_tiles: usize,
    tile_rows: usize,
    key_tiles: &Buffer<KeyTile>,
    n_key_tiles: usize,
    rows_at: &Buffer<[u32; 2]>,
    saved: &AttentionSaved<'_>,
    d_out: &Activation,
    delta: &Buffer<f32>,
    d_qkv: &Activation,
    reach: usize,
    readers: usize,
) -> Result<(), ShapeError> {
    let op = "attention_backward";
    let AttentionShape { heads, kv_heads, head_dim, .. } = *shape;
    let rows = d_out.rows;
    same(op, "width of q", saved.q.width, shape.q_width())?;
    same(op, "length of k", saved.k.len(), shape.cache_len())?;
    same(op, "length of v", saved.v.len(), shape.cache_len())?;
    same(op, "width of out", saved.out.width, heads * head_dim)?;
    same(op, "width of d_out", d_out.width, heads * head_dim)?;
    same(op, "width of d_qkv", d_qkv.width, (heads + 2 * kv_heads) * head_dim)?;
    holds(op, "number of query tiles", query_tiles.len(), n_query_tiles)?;
    holds(op, "number of key tiles", key_tiles.len(), n_key_tiles)?;
    holds(op, "length of lse", saved.lse.len(), rows * heads)?;
    holds(op, "length of delta", delta.len(), 2 * rows * heads)?;
    let device = rec.device().clone();

    let pipeline = device.pipeline(&BACKWARD_DELTA, &lanes())?;
    let params = DeltaParams {
        heads: heads as u32,
        head_dim: head_dim as u32,
        out_stride: saved.out.stride as u32,
        d_out_stride: d_out.stride as u32,
    };
    let bindings = [
        query_tiles.binding(),
        saved.out.buffer.binding(),
        saved.lse.binding(),
        d_out.buffer.binding(),
        delta.binding(),
    ];
    let grid = [n_query_tiles as u32, (tile_rows * heads).div_ceil(LANES as usize) as u32, 1];
    let pairs = n_query_tiles * tile_rows * heads;
    rec.dispatch(&pipeline, &params, &bindings, grid, 2 * (pairs * head_dim) as u64)?;

    let family = device.family(&["attention/backward_q", "attention/backward_kv"]);
    let (query_spec, key_spec) = match family {
        KernelFamily::Lane8 => (&BACKWARD_Q_LANE8, &BACKWARD_KV_LANE8),
        KernelFamily::Tiled => (&BACKWARD_Q_TILED, &BACKWARD_KV_TILED),
    };
    let mt = tile(family, head_dim);
    for (name, keys) in [("queries", reach), ("keys", readers * shape.group())] {
        let what = || format!("the gradient of {name} of attention over {reach} positions");
        rounds_fit(&device, what, rounds(family, head_dim, mt, keys))?;
    }
    let variant = variant(shape.kv, head_dim, mt, shape.cap.is_some());
    let (scale, cap) = (shape.scale, shape.cap.unwrap_or(0.0));
    let window = shape.window.unwrap_or(0) as u32;
    let bindings = |tiles: Binding| {
        [
            tiles,
            rows_at.binding(),
            saved.q.buffer.binding(),
            saved.k.binding(),
            saved.v.binding(),
            d_out.buffer.binding(),
            delta.binding(),
            d_qkv.buffer.binding(),
        ]
    };

    let pipeline = device.pipeline(query_spec, &variant)?;
    let v_tiles = (tile_rows * shape.group()).div_ceil(mt);
    let params = QueryParams {
        workgroups: (n_query_tiles * v_tiles) as u32,
        v_tiles: v_tiles as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        positions: shape.positions() as u32,
        window,
        d_out_stride: d_out.stride as u32,
        d_stride: d_qkv.stride as u32,
        scale,
        cap,
        pad: [0; 2],
    };
    let grid = [params.workgroups, kv_heads as u32, 1];
    let flops = 6 * (pairs * head_dim * reach) as u64;
    rec.dispatch(&pipeline, &params, &bindings(query_tiles.binding()), grid, flops)?;

    let pipeline = device.pipeline(key_spec, &variant)?;
    let k_tiles = KeyTile::MAX_ROWS.div_ceil(mt);
    let params = KeyParams {
        workgroups: (n_key_tiles * k_tiles) as u32,
        k_tiles: k_tiles as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        window,
        d_out_stride: d_out.stride as u32,
        d_stride: d_qkv.stride as u32,
        scale,
        cap,
        pad: [0; 3],
    };
    let grid = [params.workgroups, kv_heads as u32, 1];
    let pairs = n_key_tiles * KeyTile::MAX_ROWS * heads;
    let flops = 8 * (pairs * head_dim * reach) as u64;
    rec.dispatch(&pipeline, &params, &bindings(key_tiles.binding()), grid, flops)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_tiles_keep_to_their_sequence() {
        let tiles = KeyTile::cut(&[17, 1, 16]);
        let expected = [[0, 16, 17], [16, 1, 17], [17, 1, 18], [18, 16, 34]];
        assert_eq!(tiles.len(), expected.len());
        for (tile, [first_row, rows, end_row]) in tiles.iter().zip(expected) {
            assert_eq!(*tile, KeyTile { first_row, rows, end_row, own_end: end_row });
        }
        let tiles = KeyTile::cut_branches([(18, 5), (2, 0), (3, 0), (1, 0)]);
        let ends: Vec<_> = tiles.iter().map(|tile| (tile.first_row, tile.end_row, tile.own_end)).collect();
        assert_eq!(ends, [(0, 23, 18), (16, 23, 18), (18, 20, 20), (20, 23, 23), (23, 24, 24)]);
    }
}
