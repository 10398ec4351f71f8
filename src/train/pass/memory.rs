//! Device memory of a pass: its buffers, allocated at once, and their size, counted beforehand.

use crate::gpu::{Buffer, DeviceError};
use crate::model::config::LayerConfig;
use crate::model::lora::{AdapterBank, LoraLayout};
use crate::model::{
    AttentionBlock, Block, ConvBlock, Gradients, LayerBuffer, LoraHidden, Model, ModelConfig, Rotations,
    Saved, cache_shape, lora_hidden, lora_hidden_bytes,
};
use crate::ops::{
    Activation, AttentionShape, KeyTile, KvFormat, LoraTile, QueryTile, TokenStat, buffer_bytes,
    scalar_head_len,
};

/// Limits of a pass, and how much is kept between its forward and backward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// Buffers that all layers share; they hold values only while a layer is computed.
struct Shared {
    normed: Activation,
    qkv: Option<Activation>,
    convolved: Option<Activation>,
    u: Option<Buffer<u32>>,
    gated: Activation,
    lora: LoraHidden,
}

/// Words of the inputs of a convolution for `rows` rows; 0 if no layer has one.
fn conv_words(config: &ModelConfig, rows: usize) -> usize {
    let shape = attention_shape(config, rows);
    let mut shapes = config.layers.iter().filter_map(|layer| layer.short_conv(config, &shape));
    shapes.next().map_or(0, |shape| shape.cache_len())
}

/// Parts that a store has for the layers that use it, besides keys, values and the log-sum-exp.
const STORED: [LayerBuffer; 7] = [
    LayerBuffer::Unnormed,
    LayerBuffer::Q,
    LayerBuffer::Attended,
    LayerBuffer::Bcx,
    LayerBuffer::Result,
    LayerBuffer::Result,
    LayerBuffer::GateUp,
];

/// What is stored for one layer, or for several that share it.
fn store(
    model: &Model,
    layers: &[LayerConfig],
    attention: &AttentionShape,
    shared: &Shared,
) -> Result<Saved, DeviceError> {
    let (device, config, rows) = (model.device(), model.config(), attention.positions());
    let wanted = |part: LayerBuffer| {
        let used = layers.iter().any(|layer| part.is_of(layer));
        if used { part.wanted(device, config, rows) } else { Ok(None) }
    };
    let stream = || LayerBuffer::Stream.allocate(device, config, rows);
    let has_attention = layers.iter().any(LayerConfig::has_attention);
    let (mut kv, mut lse) = (None, None);
    if has_attention {
        let words = attention.cache_len();
        kv = Some([device.buffer("keys of a layer", words)?, device.buffer("values of a layer", words)?]);
        lse = Some(device.buffer("log-sum-exp of scores", rows * config.heads)?);
    }
    let projected = shared.qkv.clone().filter(|_| has_attention);
    let attention = match (projected, wanted(LayerBuffer::Q)?, wanted(LayerBuffer::Attended)?) {
        (Some(qkv), Some(q), Some(attended)) => Some(AttentionBlock { qkv, q, attended, lse }),
        _ => None,
    };
    let conv = wanted(LayerBuffer::Bcx)?.zip(shared.convolved.clone());
    Ok(Saved {
        input: stream()?,
        middle: stream()?,
        unnormed: wanted(LayerBuffer::Unnormed)?,
        kv,
        u: shared.u.clone(),
        block: Block {
            normed: shared.normed.clone(),
            attention,
            conv: conv.map(|(bcx, convolved)| ConvBlock { bcx, convolved }),
            results: wanted(LayerBuffer::Result)?
                .zip(wanted(LayerBuffer::Result)?)
                .map(|(first, second)| [first, second]),
            gate_up: LayerBuffer::GateUp.allocate(device, config, rows)?,
            gated: shared.gated.clone(),
            lora: shared.lora.clone(),
        },
    })
}

/// Device memory of a store besides the input of the layer, in bytes.
fn store_bytes(config: &ModelConfig, layers: &[LayerConfig], attention: &AttentionShape) -> u64 {
    let rows = attention.positions();
    let bytes = |part: &LayerBuffer| {
        let used = layers.iter().any(|layer| part.is_of(layer));
        if used { part.bytes(config, rows) } else { 0 }
    };
    let kept = 2 * buffer_bytes::<u32>(attention.cache_len()) + buffer_bytes::<f32>(rows * config.heads);
    let kept = if layers.iter().any(LayerConfig::has_attention) { kept } else { 0 };
    // The middle of the layer too.
    STORED.iter().map(bytes).sum::<u64>() + LayerBuffer::Stream.bytes(config, rows) + kept
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

        let shared = Shared {
            normed: part(LayerBuffer::Normed)?,
            qkv: LayerBuffer::Qkv.wanted(device, config, rows)?,
            convolved: LayerBuffer::Convolved.wanted(device, config, rows)?,
            u: match conv_words(config, rows) {
                0 => None,
                words => Some(device.buffer("inputs of a convolution", words)?),
            },
            gated: part(LayerBuffer::Gated)?,
            lora: lora_hidden(device, bank.layout(), rows)?,
        };
        let mut layers: Vec<Saved> = Vec::with_capacity(n_layers);
        for index in 0..n_layers {
            // Recomputed layers share one store, except for their inputs. Layers that are not trained share
            // the input too.
            let again = index + kept < n_layers;
            let saved = match layers.first().filter(|_| again) {
                Some(first) if index + learning < n_layers => first.clone(),
                Some(first) => Saved { input: part(LayerBuffer::Stream)?, ..first.clone() },
                None if again => store(model, &config.layers[..n_layers - kept], &attention, &shared)?,
                None => store(model, &config.layers[index..=index], &attention, &shared)?,
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
    let activation = Activation::bytes;
    let attention = attention_shape(config, rows);
    let part = |part: LayerBuffer| part.bytes(config, rows);
    let hidden = part(LayerBuffer::Stream);
    let kept_bytes = |layer: &LayerConfig| store_bytes(config, std::slice::from_ref(layer), &attention);
    let (again, own) = config.layers.split_at(n_layers - kept);
    let again = if again.is_empty() { 0 } else { store_bytes(config, again, &attention) };
    let stores = own.iter().map(kept_bytes).sum::<u64>() + again;
    let inputs = (learning + usize::from(learning < n_layers)) as u64;
    // The residual stream, and buffers that all layers share.
    let inputs_of_conv = match conv_words(config, rows) {
        0 => 0,
        words => buffer_bytes::<u32>(words),
    };
    let shared = hidden
        + part(LayerBuffer::Normed)
        + part(LayerBuffer::Qkv)
        + part(LayerBuffer::Convolved)
        + inputs_of_conv
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
        ("activations kept for the backward pass", inputs * hidden + stores),
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
