//! The forward pass: one definition for prefill, decode, scoring and training.

use super::kv_cache::KvCache;
use super::layer_buffer::LayerBuffer;
use super::lora::{AdapterBank, LoraLayout, Site};
use super::mixer::{AttentionBlock, ConvBlock, record_mixer};
use super::rotations::Rotations;
use super::{Model, ModelConfig};
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::ops::{
    self, Activation, AttentionShape, LoraRows, LoraRun, LoraTile, QueryTile, ShapeError, Store, Weight,
    buffer_bytes,
};

/// `x A^T` of every stacked linear, by [`Site`]; `None` if no adapter applies to the site.
pub(crate) type LoraHidden = [Option<Activation>; Site::ALL.len()];

/// Buffers for the adapters' inner products over `rows` rows.
pub(crate) fn lora_hidden(
    device: &Device,
    layout: &LoraLayout,
    rows: usize,
) -> Result<LoraHidden, DeviceError> {
    let mut hidden = [const { None }; Site::ALL.len()];
    for site in Site::ALL {
        if let Some(place) = layout.site(site) {
            let what = "inner products of adapters";
            hidden[site as usize] = Some(Activation::new(device, what, rows, place.h_width())?);
        }
    }
    Ok(hidden)
}

/// Device memory of the adapters' inner products, in bytes.
pub(crate) fn lora_hidden_bytes(layout: &LoraLayout, rows: usize) -> u64 {
    layout.sites.iter().flatten().map(|site| Activation::bytes(rows, site.h_width())).sum()
}

/// Intermediate activations of one layer.
///
/// Generation uses one block for all layers. Training keeps one per layer, or computes it again.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The residual stream after the norm before either half, `(rows, hidden)`.
    pub normed: Activation,
    /// Those of attention, if a layer has it.
    pub attention: Option<AttentionBlock>,
    /// Those of a short convolution, if a layer has it.
    pub conv: Option<ConvBlock>,
    /// Results of the two halves before their norms, `(rows, hidden)`, if a layer has such norms.
    pub results: Option<[Activation; 2]>,
    /// `(rows, 2 ffn)`.
    pub gate_up: Activation,
    /// `(rows, ffn)`.
    pub gated: Activation,
    /// Inner products of the adapters.
    pub lora: LoraHidden,
}

impl Block {
    pub fn new(model: &Model, layout: Option<&LoraLayout>, rows: usize) -> Result<Self, DeviceError> {
        let device = model.device();
        let config = model.config();
        let part = |part: LayerBuffer| part.allocate(device, config, rows);
        let wanted = |part: LayerBuffer| part.wanted(device, config, rows);
        let attention =
            match (wanted(LayerBuffer::Qkv)?, wanted(LayerBuffer::Q)?, wanted(LayerBuffer::Attended)?) {
                (Some(qkv), Some(q), Some(attended)) => Some(AttentionBlock { qkv, q, attended, lse: None }),
                _ => None,
            };
        let conv = wanted(LayerBuffer::Bcx)?.zip(wanted(LayerBuffer::Convolved)?);
        Ok(Block {
            normed: part(LayerBuffer::Normed)?,
            attention,
            conv: conv.map(|(bcx, convolved)| ConvBlock { bcx, convolved }),
            results: wanted(LayerBuffer::Result)?.map(|result| [result.clone(), result]),
            gate_up: part(LayerBuffer::GateUp)?,
            gated: part(LayerBuffer::Gated)?,
            lora: layout
                .map_or(Ok([const { None }; Site::ALL.len()]), |layout| lora_hidden(device, layout, rows))?,
        })
    }

    /// Device memory of a separate block, in bytes, without the log-sum-exp.
    fn bytes(config: &ModelConfig, layout: Option<&LoraLayout>, rows: usize) -> u64 {
        LayerBuffer::OF_BLOCK.iter().map(|part| part.bytes(config, rows)).sum::<u64>()
            + layout.map_or(0, |layout| lora_hidden_bytes(layout, rows))
    }
}

/// Buffers of a forward pass over at most `rows` tokens, and of logits for at most `logit_rows`.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Token ids, `(rows)`.
    pub ids: Buffer<u32>,
    /// For each row, the cache position at which its sequence begins, and its position there, `(rows)`.
    pub rows_at: Buffer<[u32; 2]>,
    /// Runs of rows of one sequence.
    pub tiles: Buffer<QueryTile>,
    /// Runs of rows of one adapter.
    pub lora_tiles: Buffer<LoraTile>,
    /// The residual stream, `(rows, hidden)`.
    pub x: Activation,
    /// Rows of the residual stream for which logits are computed, `(logit_rows, hidden)`.
    pub selected: Activation,
    /// The same after the last norm.
    pub selected_normed: Activation,
    /// `(logit_rows, vocabulary)`.
    pub logits: Activation,
    block: Block,
    rotations: Rotations,
}

/// Counts of a batch's rows and tiles, for recording.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchShape {
    /// Tokens.
    pub rows: usize,
    /// Attention tiles.
    pub tiles: usize,
    /// Rows of the largest tile.
    pub tile_rows: usize,
    /// Largest number of positions that a row attends to.
    pub reach: usize,
    /// Adapter tiles; 0 if no row has an adapter.
    pub lora_tiles: usize,
    /// Rows of the largest adapter tile.
    pub lora_tile_rows: usize,
}

/// The rows of a batch on the device, the same for every layer.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub shape: &'a AttentionShape,
    pub rotations: &'a Rotations,
    pub rows_at: &'a Buffer<[u32; 2]>,
    pub tiles: &'a Buffer<QueryTile>,
    pub lora_tiles: &'a Buffer<LoraTile>,
    pub bank: Option<&'a AdapterBank>,
    pub batch: BatchShape,
}

impl<'a> Rows<'a> {
    /// The adapter tiles of the batch.
    pub fn lora_rows(&self) -> LoraRows<'a> {
        LoraRows {
            tiles: self.lora_tiles,
            n_tiles: self.batch.lora_tiles,
            tile_rows: self.batch.lora_tile_rows,
        }
    }
}

impl BatchShape {
    /// Uploads the adapter tiles of `runs` and counts them.
    pub fn load_adapters(
        &mut self,
        device: &Device,
        runs: &[LoraRun],
        tiles: &Buffer<LoraTile>,
    ) -> Result<(), DeviceError> {
        let cut = LoraTile::cut(runs, LoraTile::most_rows(device));
        device.write(tiles, 0, &cut)?;
        self.lora_tiles = cut.len();
        self.lora_tile_rows = cut.iter().map(|tile| tile.rows as usize).max().unwrap_or(0);
        Ok(())
    }
}

impl Workspace {
    pub fn new(
        model: &Model,
        cache: &KvCache,
        bank: Option<&AdapterBank>,
        rows: usize,
        logit_rows: usize,
    ) -> Result<Self, DeviceError> {
        let device: &Device = model.device();
        let config = model.config();
        let shape = cache.shape();
        let activation = |what: &str, rows: usize, width: usize| Activation::new(device, what, rows, width);
        Ok(Workspace {
            ids: device.buffer("token ids", rows)?,
            rows_at: device.buffer("bases and positions", rows)?,
            tiles: device.buffer("query tiles", rows)?,
            lora_tiles: device.buffer("adapter tiles", rows)?,
            x: LayerBuffer::Stream.allocate(device, config, rows)?,
            selected: activation("selected rows", logit_rows, config.hidden)?,
            selected_normed: activation("normed selected rows", logit_rows, config.hidden)?,
            logits: activation("logits", logit_rows, config.vocab)?,
            block: Block::new(model, bank.map(AdapterBank::layout), rows)?,
            rotations: Rotations::new(device, config, shape.context)?,
        })
    }
}

impl Workspace {
    /// The intermediate activations, the same for every layer.
    pub(super) fn block(&self) -> &Block {
        &self.block
    }

    /// Device memory of a workspace, in bytes.
    pub fn bytes(
        config: &ModelConfig,
        shape: &AttentionShape,
        layout: Option<&LoraLayout>,
        rows: usize,
        logit_rows: usize,
    ) -> u64 {
        buffer_bytes::<u32>(rows)
            + buffer_bytes::<[u32; 2]>(rows)
            + buffer_bytes::<QueryTile>(rows)
            + buffer_bytes::<LoraTile>(rows)
            + Activation::bytes(rows, config.hidden)
            + 2 * Activation::bytes(logit_rows, config.hidden)
            + Activation::bytes(logit_rows, config.vocab)
            + Block::bytes(config, layout, rows)
            + Rotations::bytes(config, shape.context)
    }
}

/// Records the decoder over the rows described by `work.ids`, `work.rows_at` and `work.tiles`; their
/// keys and values go to `cache`, their hidden states stay in `work.x`.
pub(crate) fn record_layers(
    rec: &mut Recording,
    model: &Model,
    cache: &KvCache,
    work: &Workspace,
    bank: Option<&AdapterBank>,
    batch: BatchShape,
) -> Result<(), ShapeError> {
    let rows = layer_rows(cache, work, bank, batch);
    record_embedding(rec, model, &work.ids, &work.x, batch.rows)?;
    for index in 0..model.config().layers.len() {
        record_mixer(rec, model, index, &rows, &work.block, cache.layer(index), None, &work.x)?;
        record_ffn(rec, model, index, &rows, &work.block, &work.x)?;
        record_down(rec, model, index, &rows, &work.block, &work.x)?;
    }
    Ok(())
}

/// The rows of `work` as every layer sees them.
pub(super) fn layer_rows<'a>(
    cache: &'a KvCache,
    work: &'a Workspace,
    bank: Option<&'a AdapterBank>,
    batch: BatchShape,
) -> Rows<'a> {
    Rows {
        shape: cache.shape(),
        rotations: &work.rotations,
        rows_at: &work.rows_at,
        tiles: &work.tiles,
        lora_tiles: &work.lora_tiles,
        bank,
        batch,
    }
}

/// A stacked linear with its adapters: `y (+)= W x + scale B (A x)`.
pub(super) fn record_linear(
    rec: &mut Recording,
    (weight, site, layer): (&Weight, Site, usize),
    rows: &Rows<'_>,
    block: &Block,
    (x, y): (&Activation, &Activation),
    store: Store,
) -> Result<(), ShapeError> {
    ops::linear(rec, weight, x, y, rows.batch.rows, store)?;
    let Some((bank, place, h)) = adapters_at(rows, block, (site, layer)) else { return Ok(()) };
    ops::lora(rec, place, bank.layer(layer), rows.lora_rows(), x, h, y)
}

/// The bank, the site's layout and the inner products, if a row may have an adapter there. An adapter that
/// changes only the last layers costs nothing below them.
pub(super) fn adapters_at<'a>(
    rows: &Rows<'a>,
    block: &'a Block,
    (site, layer): (Site, usize),
) -> Option<(&'a AdapterBank, &'a ops::LoraSite, &'a Activation)> {
    let bank = rows.bank.filter(|bank| rows.batch.lora_tiles > 0 && layer >= bank.first_layer())?;
    Some((bank, bank.layout().site(site)?, block.lora[site as usize].as_ref()?))
}

/// Records the residual stream at the first layer.
pub(crate) fn record_embedding(
    rec: &mut Recording,
    model: &Model,
    ids: &Buffer<u32>,
    x: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    ops::embed(rec, &model.weights().embedding, model.config().stream_embedding_scale(), ids, x, rows)
}

/// Records the norm before a half if the layer has one, and returns what the half reads.
pub(super) fn record_norm_before<'a>(
    rec: &mut Recording,
    model: &Model,
    norm: Option<&Buffer<f32>>,
    block: &'a Block,
    x: &'a Activation,
    rows: usize,
) -> Result<&'a Activation, ShapeError> {
    let Some(norm) = norm else { return Ok(x) };
    ops::rms_norm(rec, x, norm, model.config().stream_eps(), &block.normed, rows, Store::Overwrite)?;
    Ok(&block.normed)
}

/// Records the end of a half: `x += W y`, or `x += norm(W y)` if the layer has a norm there.
pub(super) fn record_result(
    rec: &mut Recording,
    model: &Model,
    (weight, site, layer): (&Weight, Site, usize),
    rows: &Rows<'_>,
    block: &Block,
    (y, x): (&Activation, &Activation),
) -> Result<(), ShapeError> {
    let weights = model.weights();
    let (norm, half) = weights.layers[layer].norm_after(site);
    let (Some(norm), Some(results)) = (norm, &block.results) else {
        return record_linear(rec, (weight, site, layer), rows, block, (y, x), Store::Add);
    };
    let result = &results[half];
    record_linear(rec, (weight, site, layer), rows, block, (y, result), Store::Overwrite)?;
    ops::rms_norm(rec, result, norm, model.config().norm_eps, x, rows.batch.rows, Store::Add)
}

/// Records the feed-forward half of a layer up to its gate: `block.gated` from the residual stream.
pub(crate) fn record_ffn(
    rec: &mut Recording,
    model: &Model,
    index: usize,
    rows: &Rows<'_>,
    block: &Block,
    x: &Activation,
) -> Result<(), ShapeError> {
    let weights = model.weights();
    let layer = &weights.layers[index];
    let n = rows.batch.rows;
    let input = record_norm_before(rec, model, layer.ffn_norm.as_ref(), block, x, n)?;
    let gate_up = (input, &block.gate_up);
    record_linear(rec, (&layer.gate_up, Site::GateUp, index), rows, block, gate_up, Store::Overwrite)?;
    ops::glu(rec, model.config().layers[index].gate, &block.gate_up, &block.gated, n)
}

/// Records the addition of the feed-forward half to the residual stream: `x += W_down gated`.
pub(crate) fn record_down(
    rec: &mut Recording,
    model: &Model,
    index: usize,
    rows: &Rows<'_>,
    block: &Block,
    x: &Activation,
) -> Result<(), ShapeError> {
    let weights = model.weights();
    let down = &weights.layers[index].down;
    record_result(rec, model, (down, Site::Down, index), rows, block, (&block.gated, x))
}

/// Records the result of the feed-forward half before its norm again, if the layer has that norm.
pub(super) fn record_down_result(
    rec: &mut Recording,
    model: &Model,
    index: usize,
    rows: &Rows<'_>,
    block: &Block,
) -> Result<(), ShapeError> {
    let layer = &model.weights().layers[index];
    let (Some(_), Some([_, result])) = (&layer.norms_after, &block.results) else { return Ok(()) };
    let down = (&layer.down, Site::Down, index);
    record_linear(rec, down, rows, block, (&block.gated, result), Store::Overwrite)
}

/// Records the last norm of the first `rows` rows of `hidden`.
pub(crate) fn record_final_norm(
    rec: &mut Recording,
    model: &Model,
    hidden: &Activation,
    normed: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    let weights = model.weights();
    ops::rms_norm(
        rec,
        hidden,
        &weights.final_norm,
        model.config().stream_eps(),
        normed,
        rows,
        Store::Overwrite,
    )
}

/// Records the logits of the first `rows` rows of `normed`, which are behind the last norm.
pub(crate) fn record_head(
    rec: &mut Recording,
    model: &Model,
    normed: &Activation,
    logits: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    let weights = model.weights();
    ops::linear(rec, weights.head(), normed, logits, rows, Store::Overwrite)?;
    match model.config().logit_cap {
        cap if cap.is_none() => Ok(()),
        cap => ops::cap_logits(rec, &cap, logits, rows),
    }
}

/// Records the logits of the first `rows` rows of `hidden` into `work.logits`.
pub(crate) fn record_logits(
    rec: &mut Recording,
    model: &Model,
    work: &Workspace,
    hidden: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    record_final_norm(rec, model, hidden, &work.selected_normed, rows)?;
    record_head(rec, model, &work.selected_normed, &work.logits, rows)
}
