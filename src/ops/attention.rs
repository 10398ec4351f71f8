//! Causal grouped-query attention over the KV cache.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use super::rope::TESTED_HEAD_DIMS;
use super::rounds::rounds_fit;
use crate::gpu::{Access, Buffer, KernelFamily, KernelSpec, Recording, Specialization};

/// Storage format of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// Half floats: half the memory, and about twice as fast at long contexts.
    #[default]
    F16,
    /// As computed.
    F32,
}

impl KvFormat {
    /// `f16` or `f32`.
    pub fn name(self) -> &'static str {
        match self {
            KvFormat::F16 => "f16",
            KvFormat::F32 => "f32",
        }
    }

    /// Words of 32 bits in a chunk of 8 dimensions.
    pub(super) fn chunk_words(self) -> usize {
        match self {
            KvFormat::F16 => 4,
            KvFormat::F32 => 8,
        }
    }

    pub(super) fn write_fragment(self) -> &'static str {
        match self {
            KvFormat::F16 => "kv/write_f16",
            KvFormat::F32 => "kv/write_f32",
        }
    }

    pub(super) fn read_fragment(self) -> &'static str {
        match self {
            KvFormat::F16 => "kv/read_f16",
            KvFormat::F32 => "kv/read_f32",
        }
    }
}

/// The shape of attention in a model, with its cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of a head; even.
    pub head_dim: usize,
    /// Slots of the cache.
    pub slots: usize,
    /// Positions per slot. A sequence in its own slot begins at `slot * context`. Sequences that are packed
    /// one after another, without padding, use slots of one position each.
    pub context: usize,
    /// Number of last positions that a query attends to, including its own; `None` for all.
    pub window: Option<usize>,
    /// Factor of the scores, `1 / sqrt(head_dim)` in most models.
    pub scale: f32,
    /// Scores are bounded by this cap, as `cap tanh(score / cap)`; `None` for no bound.
    pub cap: Option<f32>,
    /// Storage format of the cache.
    pub kv: KvFormat,
}

impl AttentionShape {
    /// The usual factor of the scores, `1 / sqrt(head_dim)`.
    pub fn usual_scale(head_dim: usize) -> f32 {
        1.0 / (head_dim as f32).sqrt()
    }

    /// Query heads per key head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Columns of q in the layout that attention reads: every head padded to a multiple of 32.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim.next_multiple_of(32)
    }

    /// Words of the keys of one position; the values need the same number.
    pub fn position_words(&self) -> usize {
        self.kv_heads * self.head_dim.div_ceil(8) * self.kv.chunk_words()
    }

    /// Positions of the cache, all slots together.
    pub fn positions(&self) -> usize {
        self.slots * self.context
    }

    /// Words of one layer's key cache, `(slots, context, kv_heads, chunks)`.
    pub fn cache_len(&self) -> usize {
        self.positions() * self.position_words()
    }
}

/// First positions of a sequence that other sequences have too: their keys and values are in the cache once.
/// Without any, `positions` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedPrefix {
    /// Place of position 0 in the cache.
    pub base: u32,
    /// Number of positions.
    pub positions: u32,
}

/// Rows of one sequence at consecutive positions; they share loads of keys and values.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct QueryTile {
    /// First row of the batch.
    pub first_row: u32,
    /// Number of rows.
    pub rows: u32,
    /// Place in the cache of the sequence's shared prefix.
    pub prefix: u32,
    /// Number of positions of that prefix. Later positions are at the rows' own base.
    pub shared: u32,
}

impl QueryTile {
    /// Maximum number of rows in a tile; it keeps the registers full in prefill.
    pub const MAX_ROWS: usize = 16;

    /// The tiles of sequences that are one after another in the batch, `lengths` rows each.
    pub fn cut(lengths: &[usize]) -> Vec<QueryTile> {
        Self::cut_branches(lengths.iter().map(|&length| (length, SharedPrefix::default())))
    }

    /// The same for sequences that continue shared prefixes: number of rows, and what comes before them.
    pub fn cut_branches(runs: impl IntoIterator<Item = (usize, SharedPrefix)>) -> Vec<QueryTile> {
        let mut tiles = Vec::new();
        let mut first_row = 0;
        for (length, SharedPrefix { base, positions }) in runs {
            for start in (0..length).step_by(Self::MAX_ROWS) {
                let rows = Self::MAX_ROWS.min(length - start) as u32;
                let first_row = (first_row + start) as u32;
                tiles.push(QueryTile { first_row, rows, prefix: base, shared: positions });
            }
            first_row += length;
        }
        tiles
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    tiles: u32,
    v_tiles: u32,
    heads: u32,
    kv_heads: u32,
    positions: u32,
    window: u32,
    out_stride: u32,
    scale: f32,
    cap: f32,
    pad: [u32; 3],
}

const BINDINGS: &[Access] =
    &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write];

/// `attention/attention_lane8`.
pub(super) const ATTENTION_LANE8: KernelSpec = KernelSpec {
    name: "attention/attention_lane8",
    params_bytes: size_of::<Params>(),
    bindings: BINDINGS,
    variants: || walk(lane8),
};

/// `attention/attention_tiled`.
pub(super) const ATTENTION_TILED: KernelSpec = KernelSpec {
    name: "attention/attention_tiled",
    params_bytes: size_of::<Params>(),
    bindings: BINDINGS,
    variants: || walk(tiled),
};

/// What a kernel of attention is compiled for.
#[derive(Clone, Copy)]
struct Compiled {
    kv: KvFormat,
    head_dim: usize,
    group: usize,
    /// Virtual rows.
    mt: u32,
    /// Whether `lse` is wanted.
    lse: bool,
    /// Whether scores are capped.
    cap: bool,
}

type MakeVariant = fn(Compiled) -> Specialization;

fn walk(make: MakeVariant) -> Vec<Specialization> {
    let mut variants = Vec::new();
    for head_dim in TESTED_HEAD_DIMS {
        for kv in [KvFormat::F16, KvFormat::F32] {
            for (group, mt) in [(1, 1), (1, 8), (3, 3), (3, 8), (4, 4), (8, 8)] {
                let mt = virtual_rows(head_dim, mt);
                variants.push(make(Compiled { kv, head_dim, group, mt, lse: false, cap: false }));
            }
            let mt = virtual_rows(head_dim, 8);
            let learning = Compiled { kv, head_dim, group: 3, mt, lse: true, cap: false };
            variants.push(make(learning));
            if TESTED_CAPPED.contains(&head_dim) {
                variants.push(make(Compiled { cap: true, ..learning }));
            }
        }
    }
    variants.dedup();
    variants
}

/// Head widths that are tested with capped scores.
pub(super) const TESTED_CAPPED: [usize; 2] = [6, 256];

/// Virtual rows per workgroup: the requested number, or fewer for wide heads, whose sums fill
/// registers and workgroup memory.
fn virtual_rows(head_dim: usize, wanted: usize) -> u32 {
    let most = if head_dim <= 64 {
        8
    } else if head_dim <= 128 {
        4
    } else {
        2
    };
    wanted.min(most) as u32
}

fn lane8(compiled: Compiled) -> Specialization {
    let mut variant = tiled(compiled);
    variant.consts.push(("KT", 4));
    variant
}

/// Rounds of the kernel's loops for `reach` keys.
fn rounds(family: KernelFamily, head_dim: usize, mt: u32, reach: usize) -> usize {
    let (blocks, chunks, mt) = (head_dim.div_ceil(32), head_dim.div_ceil(8), mt as usize);
    match family {
        // A step of 32 keys: blocks of q by 4 chunks, then each key.
        KernelFamily::Lane8 => reach.div_ceil(32) * (1 + 5 * blocks + 32),
        // A step of 64 keys: scores by chunk, a reduction of 6 rounds by row, then the keys of a split.
        KernelFamily::Tiled => {
            let keys = 64usize.div_ceil((64 / chunks).max(1));
            reach.div_ceil(64) * (1 + chunks * (1 + mt) + 7 * mt + keys * (1 + mt))
        }
    }
}

fn tiled(Compiled { kv, head_dim, group, mt, lse, cap }: Compiled) -> Specialization {
    let consts = [
        ("HEAD_DIM", head_dim as u32),
        ("GROUP", group as u32),
        ("MT", mt),
        ("LSE", u32::from(lse)),
        ("CAP", u32::from(cap)),
    ];
    Specialization::new(&[("kv_read", kv.read_fragment())], &consts)
}

/// Records `out = softmax(scale q K^T) V`, with scores capped if the shape has a cap, for the rows of `tiles`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `tiles` | `(n_tiles)`, of at most `tile_rows` rows each | read |
/// | `rows_at` | `(rows)`: the base of its sequence, and its position: its key is at their sum in the cache | read |
/// | `q` | as [`rope`](super::rope) wrote it | read |
/// | `k`, `v` | [`AttentionShape::cache_len`] words each | read |
/// | `out` | `(rows, heads * head_dim)` | the tiles' rows written |
/// | `lse` | `(rows, heads)`: log of the sum of `exp` of a row's scaled scores | the tiles' rows written |
///
/// `lse` is the only result of the softmax that [`attention_backward`](super::attention_backward) needs.
/// `reach` is the largest number of positions that a row attends to; only the submit budget depends on it.
/// Kernels: `shaders/attention/`. Oracle: `reference::attention`.
///
/// # Errors
///
/// * [`ShapeError::Mismatch`] if widths or lengths disagree with `shape`;
/// * [`DeviceError::Limit`](crate::gpu::DeviceError::Limit) if llvmpipe would end the kernel before it has read
///   `reach` positions: above about 20,000.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn attention(
    rec: &mut Recording,
    shape: &AttentionShape,
    tiles: &Buffer<QueryTile>,
    n_tiles: usize,
    tile_rows: usize,
    rows_at: &Buffer<[u32; 2]>,
    q: &Activation,
    k: &Buffer<u32>,
    v: &Buffer<u32>,
    out: &Activation,
    lse: Option<&Buffer<f32>>,
    reach: usize,
) -> Result<(), ShapeError> {
    same("attention", "width of q", q.width, shape.q_width())?;
    same("attention", "width of out", out.width, shape.heads * shape.head_dim)?;
    same("attention", "length of k", k.len(), shape.cache_len())?;
    same("attention", "length of v", v.len(), shape.cache_len())?;
    holds("attention", "number of tiles", tiles.len(), n_tiles)?;
    if let Some(lse) = lse {
        holds("attention", "length of lse", lse.len(), out.rows * shape.heads)?;
    }
    let device = rec.device().clone();
    let virtual_tile = tile_rows * shape.group();
    let mt = virtual_rows(shape.head_dim, virtual_tile);
    let family = device.family(&["attention/attention"]);
    rounds_fit(
        &device,
        || format!("attention over {reach} positions"),
        rounds(family, shape.head_dim, mt, reach),
    )?;
    let (spec, make): (_, MakeVariant) = match family {
        KernelFamily::Lane8 => (&ATTENTION_LANE8, lane8),
        KernelFamily::Tiled => (&ATTENTION_TILED, tiled),
    };
    let &AttentionShape { kv, head_dim, cap, .. } = shape;
    let (group, lse_wanted) = (shape.group(), lse.is_some());
    let variant = make(Compiled { kv, head_dim, group, mt, lse: lse_wanted, cap: cap.is_some() });
    let pipeline = device.pipeline(spec, &variant)?;
    let v_tiles = virtual_tile.div_ceil(mt as usize);
    let params = Params {
        tiles: n_tiles as u32,
        v_tiles: v_tiles as u32,
        heads: shape.heads as u32,
        kv_heads: shape.kv_heads as u32,
        positions: shape.positions() as u32,
        window: shape.window.unwrap_or(0) as u32,
        out_stride: out.stride as u32,
        scale: shape.scale,
        cap: cap.unwrap_or(0.0),
        pad: [0; 3],
    };
    let bindings = [
        tiles.binding(),
        rows_at.binding(),
        q.buffer.binding(),
        k.binding(),
        v.binding(),
        out.buffer.binding(),
        lse.map_or_else(|| device.unused(), Buffer::binding),
    ];
    let grid = [(n_tiles * v_tiles) as u32, shape.kv_heads as u32, 1];
    let flops = 4 * (n_tiles * virtual_tile * shape.kv_heads * shape.head_dim * reach) as u64;
    rec.dispatch(&pipeline, &params, &bindings, grid, flops)?;
    Ok(())
}
