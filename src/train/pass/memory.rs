//! Device memory of a pass: its buffers, allocated at once, and their size, counted beforehand.

use crate::gpu::{Buffer, DeviceError};
use crate::model::lora::{AdapterBank, LoraLayout};
use crate::model::{
    Block, Gradients, Model, ModelConfig, Saved, cache_shape, lora_hidden, lora_hidden_bytes,
};
use crate::ops::{
    Activation, AttentionShape, KeyTile, KvFormat, LoraTile, QueryTile, RopeTable, TokenStat, buffer_bytes,
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
    pub rope: RopeTable,
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
    pub gradients: Gradients,
    layers: Vec<Saved>,
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
        let (learning, kept) = shape.layers(config.layers);
        let attention = attention_shape(config, rows);
        let activation = |what: &str, rows: usize, width: usize| Activation::new(device, what, rows, width);
        let selected = |what: &str| Activation::new(device, what, logit_rows, config.hidden);

        let q_out = config.heads * config.head_dim;
        let qkv_width = q_out + 2 * config.kv_heads * config.head_dim;
        let normed = activation("normed rows", rows, config.hidden)?;
        let qkv = activation("q, k and v", rows, qkv_width)?;
        let gated = activation("gated rows", rows, config.ffn)?;
        let lora = lora_hidden(device, bank.layout(), rows)?;
        let store = || -> Result<Saved, DeviceError> {
            Ok(Saved {
                input: activation("input of a layer", rows, config.hidden)?,
                middle: activation("middle of a layer", rows, config.hidden)?,
                unnormed: if config.qk_norm {
                    Some(activation("q and k before their norms", rows, qkv_width)?)
                } else {
                    None
                },
                k: device.buffer("keys of a layer", attention.cache_len())?,
                v: device.buffer("values of a layer", attention.cache_len())?,
                block: Block {
                    normed: normed.clone(),
                    qkv: qkv.clone(),
                    q: activation("rotated q", rows, attention.q_width())?,
                    attended: activation("attention output", rows, q_out)?,
                    lse: Some(device.buffer("log-sum-exp of scores", rows * config.heads)?),
                    gate_up: activation("gate and up", rows, 2 * config.ffn)?,
                    gated: gated.clone(),
                    lora: lora.clone(),
                },
            })
        };
        let mut layers: Vec<Saved> = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            // Recomputed layers share one store, except for their inputs. Layers that are not trained share
            // the input too.
            let again = index + kept < config.layers;
            let saved = match layers.first().filter(|_| again) {
                Some(first) if index + learning < config.layers => first.clone(),
                Some(first) => {
                    Saved { input: activation("input of a layer", rows, config.hidden)?, ..first.clone() }
                }
                None => store()?,
            };
            layers.push(saved);
        }
        Ok(PassMemory {
            shape: *shape,
            attention,
            rope: RopeTable::new(device, &config.rope.inverse_frequencies(config.head_dim), longest)?,
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
            x: activation("residual stream", rows, config.hidden)?,
            selected: selected("selected rows")?,
            selected_normed: selected("normed selected rows")?,
            d_selected: selected("gradient of selected rows")?,
            d_selected_normed: selected("gradient of normed selected rows")?,
            logits: activation("logits", logit_rows, config.vocab)?,
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
    let (learning, kept) = shape.layers(config.layers);
    let buffer = buffer_bytes::<f32>;
    let activation = Activation::bytes;
    let attention = attention_shape(config, rows);
    let q_out = config.heads * config.head_dim;
    let qkv = activation(rows, q_out + 2 * config.kv_heads * config.head_dim);
    let hidden = activation(rows, config.hidden);
    let lora = lora_hidden_bytes(layout, rows);
    let store = hidden
        + if config.qk_norm { qkv } else { 0 }
        + 2 * buffer(attention.cache_len())
        + activation(rows, attention.q_width())
        + activation(rows, q_out)
        + buffer(rows * config.heads)
        + activation(rows, 2 * config.ffn);
    let stores = (kept + usize::from(kept < config.layers)) as u64;
    let inputs = (learning + usize::from(learning < config.layers)) as u64;
    let gated = activation(rows, config.ffn);
    // The residual stream, and buffers that all layers share.
    let shared = 2 * hidden + qkv + gated + lora;
    let gradients = 2 * hidden
        + qkv
        + activation(rows, q_out)
        + activation(rows, 2 * config.ffn)
        + gated
        + buffer(2 * rows * config.heads)
        + lora;
    let lists = 6 * buffer_bytes::<u32>(rows)
        + buffer_bytes::<[u32; 2]>(rows)
        + buffer_bytes::<QueryTile>(rows)
        + buffer_bytes::<KeyTile>(rows)
        + buffer_bytes::<LoraTile>(rows)
        + 2 * buffer_bytes::<TokenStat>(rows);
    let rope = buffer(longest * config.head_dim);
    [
        ("activations kept for the backward pass", inputs * hidden + stores * store),
        ("working activations and gradients", shared + gradients),
        (
            "logits of one chunk",
            activation(logit_rows, config.vocab) + 4 * activation(logit_rows, config.hidden),
        ),
        ("token lists and rope table", lists + rope),
    ]
}

/// Device memory of a bank of `capacity` adapters in bytes.
pub(crate) fn bank_bytes(config: &ModelConfig, layout: &LoraLayout, capacity: usize) -> u64 {
    config.layers as u64 * buffer_bytes::<f32>(capacity * layout.adapter_len)
        + buffer_bytes::<f32>(capacity * scalar_head_len(config.hidden))
}
