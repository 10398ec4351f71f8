//! Device memory of a pass: its buffers, allocated at once, and their size, counted beforehand.

use crate::gpu::{Buffer, DeviceError};
use crate::model::lora::{AdapterBank, LoraLayout};
use crate::model::{
    Block, Gradients, LayerBuffer, Model, ModelConfig, Rotations, Saved, cache_shape, lora_hidden,
    lora_hidden_bytes,
};
use crate::ops::{
    Activation, AttentionShape, KeyTile, KvFormat, LoraTile, QueryTile, TokenStat, buffer_bytes,
    scalar_head_len,
};

/// Limits of a pass, and how much is kept between its forward and backward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassShape {
    /// Maximum number of tokens of all sequences together.
    pub rows: usize,
    /// Maximum number of tokens of one sequence.
    pub longest: usize,
    /// Number of last layers that are trained. The backward pass ends at the first of these, and nothing is
    /// kept for the layers below.
    pub learning_layers: usize,
    /// Number of layers whose activations are kept for the backward pass. The other trained layers keep only
    /// their input and are recomputed (arXiv 1604.06174).
    pub kept_layers: usize,
    /// Number of readings whose logits are computed at once. The logits of all readings are never in memory
    /// together.
    pub logit_rows: usize,
}

/// Device memory for the logits of one chunk of readings, in bytes. It holds enough rows for the matrix
/// product to run at full speed.
const LOGITS_BYTES: usize = 32 << 20;

impl PassShape {
    /// Number of trained layers, out of `layers`, and the number of these that keep their activations.
    fn layers(&self, layers: usize) -> (usize, usize) {
        let learning = self.learning_layers.min(layers);
        (learning, self.kept_layers.min(learning))
    }

    /// Number of readings per chunk of logits for a vocabulary of `vocab` tokens.
    pub fn logit_rows_for(vocab: usize) -> usize {
        (LOGITS_BYTES / (4 * vocab.next_multiple_of(32)) / 8 * 8).clamp(8, 256)
    }
}

/// All buffers of a pass.
#[derive(Debug)]
pub(super) struct PassMemory {
    pub shape: PassShape,
    pub attention: AttentionShape,
    pub rotations: Rotations,
    pub ids: Buffer<u32>,
    pub rows_at: Buffer<[u32; 2]>,
    pub tiles: Buffer<QueryTile>,
    pub key_tiles: Buffer<KeyTile>,
    pub lora_tiles: Buffer<LoraTile>,
    pub read_rows: Buffer<u32>,
    pub targets: Buffer<u32>,
    pub head_of: Buffer<u32>,
    pub stats: Buffer<TokenStat>,
    pub values: Buffer<f32>,
    pub d_stats: Buffer<TokenStat>,
    pub d_values: Buffer<f32>,
    pub x: Activation,
    pub selected: Activation,
    pub selected_normed: Activation,
    pub d_selected: Activation,
    pub d_selected_normed: Activation,
    pub logits: Activation,
    /// The logits of a chunk while `logits` holds their gradient, if they are capped.
    pub capped: Option<Activation>,
    pub gradients: Gradients,
    layers: Vec<Saved>,
}

/// Whether the backward pass needs the logits behind their factor and cap.
fn has_cap(config: &ModelConfig) -> bool {
    !config.logit_cap.is_none()
}

/// Attention of packed training: every row has its own place in the cache, in full precision.
fn attention_shape(config: &ModelConfig, rows: usize) -> AttentionShape {
    cache_shape(config, rows, 1, KvFormat::F32)
}

impl PassMemory {
    pub fn new(model: &Model, bank: &AdapterBank, shape: &PassShape) -> Result<Self, DeviceError> {
        let device = model.device();
        let config = model.config();
        let PassShape { rows, longest, logit_rows, .. } = *shape;
        let n_layers = config.layers.len();
        let (learning, kept) = shape.layers(n_layers);
        let attention = attention_shape(config, rows);
        let part = |part: LayerBuffer| part.allocate(device, config, rows);
        let selected = |what: &str| Activation::new(device, what, logit_rows, config.hidden);

        let (normed, qkv, gated) =
            (part(LayerBuffer::Normed)?, part(LayerBuffer::Qkv)?, part(LayerBuffer::Gated)?);
        let lora = lora_hidden(device, bank.layout(), rows)?;
        let store = || -> Result<Saved, DeviceError> {
            let result = || LayerBuffer::Result.wanted(device, config, rows);
            Ok(Saved {
                input: part(LayerBuffer::Stream)?,
                middle: part(LayerBuffer::Stream)?,
                unnormed: LayerBuffer::Unnormed.wanted(device, config, rows)?,
                k: device.buffer("keys of a layer", attention.cache_len())?,
                v: device.buffer("values of a layer", attention.cache_len())?,
                block: Block {
                    normed: normed.clone(),
                    qkv: qkv.clone(),
                    q: part(LayerBuffer::Q)?,
                    attended: part(LayerBuffer::Attended)?,
                    results: result()?.zip(result()?).map(|(attention, ffn)| [attention, ffn]),
                    lse: Some(device.buffer("log-sum-exp of scores", rows * config.heads)?),
                    gate_up: part(LayerBuffer::GateUp)?,
                    gated: gated.clone(),
                    lora: lora.clone(),
                },
            })
        };
        let mut layers: Vec<Saved> = Vec::with_capacity(n_layers);
        for index in 0..n_layers {
            // Recomputed layers share one store, except for their inputs. Layers that are not trained share
            // the input too.
            let again = index + kept < n_layers;
            let saved = match layers.first().filter(|_| again) {
                Some(first) if index + learning < n_layers => first.clone(),
                Some(first) => Saved { input: part(LayerBuffer::Stream)?, ..first.clone() },
                None => store()?,
            };
            layers.push(saved);
        }
        let logits = || Activation::new(device, "logits", logit_rows, config.vocab);
        Ok(PassMemory {
            shape: *shape,
            attention,
            rotations: Rotations::new(device, config, longest)?,
            ids: device.buffer("token ids", rows)?,
            rows_at: device.buffer("bases and positions", rows)?,
            tiles: device.buffer("query tiles", rows)?,
            key_tiles: device.buffer("key tiles", rows)?,
            lora_tiles: device.buffer("adapter tiles", rows)?,
            read_rows: device.buffer("rows that are read", rows)?,
            targets: device.buffer("targets", rows)?,
            head_of: device.buffer("heads of readings", rows)?,
            stats: device.buffer("token statistics", rows)?,
            values: device.buffer("values", rows)?,
            d_stats: device.buffer("gradients of token statistics", rows)?,
            d_values: device.buffer("gradients of values", rows)?,
            x: part(LayerBuffer::Stream)?,
            selected: selected("selected rows")?,
            selected_normed: selected("normed selected rows")?,
            d_selected: selected("gradient of selected rows")?,
            d_selected_normed: selected("gradient of normed selected rows")?,
            logits: logits()?,
            capped: if has_cap(config) { Some(logits()?) } else { None },
            gradients: Gradients::new(model, bank, rows)?,
            layers,
        })
    }

    /// Activations that a layer stores in its forward pass, or when it is recomputed.
    pub fn saved(&self, layer: usize) -> &Saved {
        &self.layers[layer]
    }

    /// Whether a layer's activations are kept after the forward pass. The last layers keep theirs, because
    /// their backward pass comes first.
    pub fn keeps(&self, layer: usize) -> bool {
        layer + self.shape.kept_layers >= self.layers.len() && self.learns(layer)
    }

    /// Whether a layer has a backward pass.
    pub fn learns(&self, layer: usize) -> bool {
        layer + self.shape.learning_layers >= self.layers.len()
    }
}

/// Device memory of a pass of `shape` in bytes, by purpose.
pub(in crate::train) fn pass_bytes(
    config: &ModelConfig,
    layout: &LoraLayout,
    shape: &PassShape,
) -> [(&'static str, u64); 4] {
    let PassShape { rows, longest, logit_rows, .. } = *shape;
    let n_layers = config.layers.len();
    let (learning, kept) = shape.layers(n_layers);
    let buffer = buffer_bytes::<f32>;
    let activation = Activation::bytes;
    let attention = attention_shape(config, rows);
    let part = |part: LayerBuffer| part.bytes(config, rows);
    let hidden = part(LayerBuffer::Stream);
    // The middle of the layer, and the rest of what a layer keeps besides its input.
    let store = hidden
        + part(LayerBuffer::Unnormed)
        + 2 * buffer(attention.cache_len())
        + part(LayerBuffer::Q)
        + part(LayerBuffer::Attended)
        + 2 * part(LayerBuffer::Result)
        + buffer(rows * config.heads)
        + part(LayerBuffer::GateUp);
    let stores = (kept + usize::from(kept < n_layers)) as u64;
    let inputs = (learning + usize::from(learning < n_layers)) as u64;
    // The residual stream, and buffers that all layers share.
    let shared = hidden
        + part(LayerBuffer::Normed)
        + part(LayerBuffer::Qkv)
        + part(LayerBuffer::Gated)
        + lora_hidden_bytes(layout, rows);
    let gradients = Gradients::bytes(config, layout, rows);
    let logits = (1 + u64::from(has_cap(config))) * activation(logit_rows, config.vocab);
    let lists = 6 * buffer_bytes::<u32>(rows)
        + buffer_bytes::<[u32; 2]>(rows)
        + buffer_bytes::<QueryTile>(rows)
        + buffer_bytes::<KeyTile>(rows)
        + buffer_bytes::<LoraTile>(rows)
        + 2 * buffer_bytes::<TokenStat>(rows);
    [
        ("activations kept for the backward pass", inputs * hidden + stores * store),
        ("working activations and gradients", shared + gradients),
        ("logits of one chunk", logits + 4 * activation(logit_rows, config.hidden)),
        ("token lists and rope table", lists + Rotations::bytes(config, longest)),
    ]
}

/// Device memory of a bank of `capacity` adapters in bytes.
pub(crate) fn bank_bytes(config: &ModelConfig, layout: &LoraLayout, capacity: usize) -> u64 {
    config.layers.len() as u64 * buffer_bytes::<f32>(capacity * layout.adapter_len)
        + buffer_bytes::<f32>(capacity * scalar_head_len(config.hidden))
}
