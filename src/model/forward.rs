//! The forward pass: one definition for prefill, decode and scoring.

use super::Model;
use super::kv_cache::KvCache;
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::ops::{self, Activation, QueryTile, RopeTable, ShapeError, Store};

/// Buffers of a forward pass over at most `rows` tokens, and of logits for at most `logit_rows`.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Token ids, `(rows)`.
    pub ids: Buffer<u32>,
    /// Where in the cache each row's sequence begins, and the row's position in it, `(rows)`.
    pub rows_at: Buffer<[u32; 2]>,
    /// Runs of rows of one sequence.
    pub tiles: Buffer<QueryTile>,
    /// The residual stream, `(rows, hidden)`.
    pub x: Activation,
    /// Rows of the residual stream that want logits, `(logit_rows, hidden)`.
    pub selected: Activation,
    /// `(logit_rows, vocabulary)`.
    pub logits: Activation,
    normed: Activation,
    qkv: Activation,
    q: Activation,
    attended: Activation,
    gate_up: Activation,
    gated: Activation,
    selected_normed: Activation,
    rope: RopeTable,
}

/// What the rows of a batch are, for the recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchShape {
    /// Tokens.
    pub rows: usize,
    /// Attention tiles.
    pub tiles: usize,
    /// Rows of the largest tile.
    pub tile_rows: usize,
    /// Most positions that any row sees.
    pub reach: usize,
}

impl Workspace {
    pub fn new(model: &Model, cache: &KvCache, rows: usize, logit_rows: usize) -> Result<Self, DeviceError> {
        let device: &Device = model.device();
        let config = model.config();
        let shape = cache.shape();
        let q_out = config.heads * config.head_dim;
        let activation = |what: &str, rows: usize, width: usize| Activation::new(device, what, rows, width);
        Ok(Workspace {
            ids: device.buffer("token ids", rows)?,
            rows_at: device.buffer("bases and positions", rows)?,
            tiles: device.buffer("query tiles", rows)?,
            x: activation("residual stream", rows, config.hidden)?,
            normed: activation("normed rows", rows, config.hidden)?,
            qkv: activation("q, k and v", rows, q_out + 2 * config.kv_heads * config.head_dim)?,
            q: activation("rotated q", rows, shape.q_width())?,
            attended: activation("attention output", rows, q_out)?,
            gate_up: activation("gate and up", rows, 2 * config.ffn)?,
            gated: activation("gated rows", rows, config.ffn)?,
            selected: activation("selected rows", logit_rows, config.hidden)?,
            selected_normed: activation("normed selected rows", logit_rows, config.hidden)?,
            logits: activation("logits", logit_rows, config.vocab)?,
            rope: RopeTable::new(device, &config.rope.inverse_frequencies(config.head_dim), shape.context)?,
        })
    }
}

/// Records the decoder over the rows described by `work.ids`, `work.rows_at` and `work.tiles`; their
/// keys and values go to `cache`, their hidden states stay in `work.x`.
pub(crate) fn record_layers(
    rec: &mut Recording,
    model: &Model,
    cache: &KvCache,
    work: &Workspace,
    batch: BatchShape,
) -> Result<(), ShapeError> {
    let config = model.config();
    let weights = model.weights();
    let shape = cache.shape();
    let rows = batch.rows;
    ops::embed(rec, &weights.embedding, &work.ids, &work.x, rows)?;
    for (index, layer) in weights.layers.iter().enumerate() {
        let (k, v) = cache.layer(index);
        ops::rms_norm(rec, &work.x, &layer.attention_norm, config.norm_eps, &work.normed, rows)?;
        ops::linear(rec, &layer.qkv, &work.normed, &work.qkv, rows, Store::Overwrite)?;
        if let Some([q_norm, k_norm]) = &layer.head_norms {
            let k_offset = config.heads * config.head_dim;
            ops::head_norm(rec, &work.qkv, q_norm, config.norm_eps, 0, config.heads, rows)?;
            ops::head_norm(rec, &work.qkv, k_norm, config.norm_eps, k_offset, config.kv_heads, rows)?;
        }
        ops::rope(rec, shape, &work.qkv, &work.rows_at, &work.rope, &work.q, k, v, rows)?;
        ops::attention(
            rec,
            shape,
            &work.tiles,
            batch.tiles,
            batch.tile_rows,
            &work.rows_at,
            &work.q,
            k,
            v,
            &work.attended,
            None,
            batch.reach,
        )?;
        ops::linear(rec, &layer.o, &work.attended, &work.x, rows, Store::Add)?;
        ops::rms_norm(rec, &work.x, &layer.ffn_norm, config.norm_eps, &work.normed, rows)?;
        ops::linear(rec, &layer.gate_up, &work.normed, &work.gate_up, rows, Store::Overwrite)?;
        ops::swiglu(rec, &work.gate_up, &work.gated, rows)?;
        ops::linear(rec, &layer.down, &work.gated, &work.x, rows, Store::Add)?;
    }
    Ok(())
}

/// Records the logits of the first `rows` rows of `hidden` into `work.logits`.
pub(crate) fn record_logits(
    rec: &mut Recording,
    model: &Model,
    work: &Workspace,
    hidden: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    let weights = model.weights();
    ops::rms_norm(rec, hidden, &weights.final_norm, model.config().norm_eps, &work.selected_normed, rows)?;
    ops::linear(rec, weights.head(), &work.selected_normed, &work.logits, rows, Store::Overwrite)
}
