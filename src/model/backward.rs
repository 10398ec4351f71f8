//! The backward pass, written by hand: a layer's gradients, in the reverse order of `forward`.
//!
//! Weights are frozen, so a layer has gradients only of its input and of its adapters. Adapter
//! gradients accumulate. Gradients of activations overwrite, except that of the residual stream, to
//! which each half of a layer adds its own.

use std::ops::Range;

use super::Model;
use super::forward::{Block, LoraHidden, Rows, adapters_at, lora_hidden, record_attention, record_ffn};
use super::lora::{AdapterBank, Site};
use crate::gpu::{Buffer, DeviceError, Recording};
use crate::ops::{self, Activation, AttentionSaved, KeyTile, ShapeError, Store, Weight, scalar_head_len};

/// Gradients of activations, shared by all layers; `(rows, ..)` each.
#[derive(Debug)]
pub(crate) struct Gradients {
    /// Gradient of the residual stream.
    pub d_x: Activation,
    d_normed: Activation,
    d_qkv: Activation,
    d_attended: Activation,
    d_gate_up: Activation,
    d_gated: Activation,
    delta: Buffer<f32>,
    d_lora: LoraHidden,
}

impl Gradients {
    pub fn new(model: &Model, bank: &AdapterBank, rows: usize) -> Result<Self, DeviceError> {
        let device = model.device();
        let config = model.config();
        let q_out = config.heads * config.head_dim;
        let activation = |what: &str, width: usize| Activation::new(device, what, rows, width);
        Ok(Gradients {
            d_x: activation("gradient of the residual stream", config.hidden)?,
            d_normed: activation("gradient of normed rows", config.hidden)?,
            d_qkv: activation("gradient of q, k and v", q_out + 2 * config.kv_heads * config.head_dim)?,
            d_attended: activation("gradient of attention output", q_out)?,
            d_gate_up: activation("gradient of gate and up", 2 * config.ffn)?,
            d_gated: activation("gradient of gated rows", config.ffn)?,
            delta: device.buffer("attention deltas", 2 * rows * config.heads)?,
            d_lora: lora_hidden(device, bank.layout(), rows)?,
        })
    }
}

/// Gradients of the adapters in the first `trainable` slots of a bank, and of their heads.
#[derive(Debug)]
pub(crate) struct AdapterGradients {
    /// `(trainable, adapter_len)` by layer.
    pub layers: Vec<Buffer<f32>>,
    /// `(trainable, scalar_head_len)`.
    pub heads: Buffer<f32>,
    /// Number of trainable adapters.
    pub trainable: usize,
}

impl AdapterGradients {
    pub fn new(model: &Model, bank: &AdapterBank, trainable: usize) -> Result<Self, DeviceError> {
        let device = model.device();
        let len = trainable * bank.layout().adapter_len;
        Ok(AdapterGradients {
            layers: (0..model.config().layers)
                .map(|_| device.buffer("adapter gradients of a layer", len))
                .collect::<Result<_, DeviceError>>()?,
            heads: device.buffer("head gradients", trainable * scalar_head_len(model.config().hidden))?,
            trainable,
        })
    }

    /// Records zeros for all gradients.
    pub fn record_clear(&self, rec: &mut Recording) {
        for buffer in self.layers.iter().chain([&self.heads]) {
            rec.clear(buffer, 0, buffer.len());
        }
    }
}

/// Rows of one trainable adapter: its slot, its scale, its consecutive rows.
#[derive(Clone, Debug)]
pub(crate) struct Learning {
    pub place: usize,
    pub scale: f32,
    pub rows: Range<usize>,
}

/// Results of a layer's forward pass that its backward pass needs.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    /// The residual stream at the layer's input, `(rows, hidden)`.
    pub input: Activation,
    /// The residual stream between the halves, `(rows, hidden)`.
    pub middle: Activation,
    /// Queries and keys before their heads' norms, if the model has such norms.
    pub unnormed: Option<Activation>,
    pub k: Buffer<u32>,
    pub v: Buffer<u32>,
    /// Intermediate activations. `normed` and `gated` are shared scratch and hold no values any more.
    pub block: Block,
}

impl Saved {
    /// Records the forward pass of a layer again, as far as its backward pass needs it.
    pub fn record_again(
        &self,
        rec: &mut Recording,
        model: &Model,
        index: usize,
        rows: &Rows<'_>,
    ) -> Result<(), ShapeError> {
        let values = rows.batch.rows * self.input.stride;
        rec.copy(&self.input.buffer, 0, &self.middle.buffer, 0, values);
        let kv = (&self.k, &self.v);
        record_attention(rec, model, index, rows, &self.block, kv, self.unnormed.as_ref(), &self.middle)?;
        record_ffn(rec, model, index, rows, &self.block, &self.middle)
    }
}

/// Values that are the same for all layers.
pub(crate) struct Backward<'a> {
    pub model: &'a Model,
    pub rows: Rows<'a>,
    pub key_tiles: &'a Buffer<KeyTile>,
    pub n_key_tiles: usize,
    pub gradients: &'a Gradients,
    pub adapters: &'a AdapterGradients,
    pub learning: &'a [Learning],
}

impl Backward<'_> {
    /// Records the backward pass of a layer, `d_x` in place. The lowest layer may leave out the gradient
    /// of its input, which is not used.
    pub fn record_layer(
        &self,
        rec: &mut Recording,
        index: usize,
        saved: &Saved,
        input_wanted: bool,
    ) -> Result<(), ShapeError> {
        let config = self.model.config();
        let weights = self.model.weights();
        let layer = &weights.layers[index];
        let n = self.rows.batch.rows;
        let Gradients { d_x, d_normed, d_qkv, d_attended, d_gate_up, d_gated, delta, .. } = self.gradients;
        let block = &saved.block;

        ops::swiglu(rec, &block.gate_up, &block.gated, n)?;
        self.linear(rec, (&layer.down, Site::Down, index), block, &block.gated, d_x, Some(d_gated))?;
        ops::swiglu_backward(rec, &block.gate_up, d_gated, d_gate_up, n)?;
        ops::rms_norm(rec, &saved.middle, &layer.ffn_norm, config.norm_eps, &block.normed, n)?;
        let gate_up = (&layer.gate_up, Site::GateUp, index);
        self.linear(rec, gate_up, block, &block.normed, d_gate_up, Some(d_normed))?;
        let eps = config.norm_eps;
        ops::rms_norm_backward(rec, &saved.middle, &layer.ffn_norm, eps, d_normed, d_x, n, Store::Add)?;

        self.linear(rec, (&layer.o, Site::O, index), block, &block.attended, d_x, Some(d_attended))?;
        let lse = block.lse.as_ref().expect("training keeps the log-sum-exp of every layer");
        let kept = AttentionSaved { q: &block.q, k: &saved.k, v: &saved.v, out: &block.attended, lse };
        ops::attention_backward(
            rec,
            self.rows.shape,
            self.rows.tiles,
            self.rows.batch.tiles,
            self.rows.batch.tile_rows,
            self.key_tiles,
            self.n_key_tiles,
            self.rows.rows_at,
            &kept,
            d_attended,
            delta,
            d_qkv,
            self.rows.batch.reach,
        )?;
        ops::rope_backward(rec, self.rows.shape, d_qkv, self.rows.rows_at, self.rows.rope, n)?;
        if let Some([q_norm, k_norm]) = &layer.head_norms {
            let x = saved.unnormed.as_ref().expect("training keeps what enters the heads' norms");
            let k_offset = config.heads * config.head_dim;
            ops::head_norm_backward(rec, x, q_norm, eps, 0, config.heads, d_qkv, n)?;
            ops::head_norm_backward(rec, x, k_norm, eps, k_offset, config.kv_heads, d_qkv, n)?;
        }
        ops::rms_norm(rec, &saved.input, &layer.attention_norm, eps, &block.normed, n)?;
        let wanted = input_wanted.then_some(d_normed);
        self.linear(rec, (&layer.qkv, Site::Qkv, index), block, &block.normed, d_qkv, wanted)?;
        if input_wanted {
            let norm = &layer.attention_norm;
            ops::rms_norm_backward(rec, &saved.input, norm, eps, d_normed, d_x, n, Store::Add)?;
        }
        Ok(())
    }

    /// A stacked linear with its adapters: gradients of the factors, and of `x` if it is needed.
    fn linear(
        &self,
        rec: &mut Recording,
        (weight, site, layer): (&Weight, Site, usize),
        block: &Block,
        x: &Activation,
        d_y: &Activation,
        d_x: Option<&Activation>,
    ) -> Result<(), ShapeError> {
        if let Some(d_x) = d_x {
            ops::linear_backward(rec, weight, d_y, d_x, self.rows.batch.rows, Store::Overwrite)?;
        }
        let Some((bank, place, h)) = adapters_at(&self.rows, block, (site, layer)) else { return Ok(()) };
        let d_h = self.gradients.d_lora[site as usize].as_ref().expect("one per inner product");
        let (params, rows) = (bank.layer(layer), self.rows.lora_rows());
        // Inner products are a hundredth of the work: cheaper to compute again than to store.
        ops::lora_shrink(rec, place, params, rows, x, h)?;
        ops::lora_expand_backward(rec, place, params, rows, d_y, d_h)?;
        let grads = &self.adapters.layers[layer];
        for Learning { place: adapter, scale, rows } in self.learning {
            let at = adapter * bank.layout().adapter_len;
            ops::lora_grad_b(rec, place, rows.clone(), *scale, h, d_y, grads, at)?;
            ops::lora_grad_a(rec, place, rows.clone(), d_h, x, grads, at)?;
        }
        match d_x {
            Some(d_x) => ops::lora_shrink_backward(rec, place, params, rows, d_h, d_x),
            None => Ok(()),
        }
    }
}
