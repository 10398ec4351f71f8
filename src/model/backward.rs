//! The backward pass, written by hand: a layer's gradients, in the reverse order of `forward`.
//!
//! Weights are frozen, so a layer has gradients only of its input and of its adapters. Adapter
//! gradients accumulate. Gradients of activations overwrite, except that of the residual stream, to
//! which each half of a layer adds its own.

use std::ops::Range;

use super::config::LayerConfig;
use super::forward::{
    Block, LoraHidden, Rows, adapters_at, lora_hidden, lora_hidden_bytes, record_down_result, record_ffn,
    record_norm_before,
};
use super::kv_cache::Past;
use super::layer_buffer::LayerBuffer;
use super::lora::{AdapterBank, LoraLayout, Site};
use super::mixer::{AttentionBlock, ConvBlock, conv_shape, head_norms, record_conv, record_mixer};
use super::weights::Mixer;
use super::{Model, ModelConfig};
use crate::gpu::{Buffer, DeviceError, Recording};
use crate::ops::{
    self, Activation, AttentionSaved, KeyTile, ShapeError, Store, Weight, buffer_bytes, scalar_head_len,
};

/// Gradients of activations, shared by all layers; `(rows, ..)` each.
#[derive(Debug)]
pub(crate) struct Gradients {
    /// Gradient of the residual stream.
    pub d_x: Activation,
    d_normed: Activation,
    /// Of queries, keys and values, of attention's result, and two values for each row and head; if a layer has
    /// attention.
    attention: Option<(Activation, Activation, Buffer<f32>)>,
    /// Of B, C and x, and of the convolution's result; if a layer has one.
    conv: Option<(Activation, Activation)>,
    /// Of a half's result before its norm.
    d_result: Option<Activation>,
    d_gate_up: Activation,
    d_gated: Activation,
    d_lora: LoraHidden,
}

impl Gradients {
    pub fn new(model: &Model, bank: &AdapterBank, rows: usize) -> Result<Self, DeviceError> {
        let device = model.device();
        let config = model.config();
        let like = |buffer: LayerBuffer| buffer.allocate(device, config, rows);
        let wanted = |buffer: LayerBuffer| buffer.wanted(device, config, rows);
        let attention = match (wanted(LayerBuffer::Qkv)?, wanted(LayerBuffer::Attended)?) {
            (Some(d_qkv), Some(d_attended)) => {
                let delta = device.buffer("attention deltas", 2 * rows * config.heads)?;
                Some((d_qkv, d_attended, delta))
            }
            _ => None,
        };
        Ok(Gradients {
            d_x: like(LayerBuffer::Stream)?,
            d_normed: like(LayerBuffer::Normed)?,
            attention,
            conv: wanted(LayerBuffer::Bcx)?.zip(wanted(LayerBuffer::Convolved)?),
            d_result: wanted(LayerBuffer::Result)?,
            d_gate_up: like(LayerBuffer::GateUp)?,
            d_gated: like(LayerBuffer::Gated)?,
            d_lora: lora_hidden(device, bank.layout(), rows)?,
        })
    }

    /// Device memory of the gradients, in bytes.
    pub fn bytes(config: &ModelConfig, layout: &LoraLayout, rows: usize) -> u64 {
        let like = [
            LayerBuffer::Stream,
            LayerBuffer::Normed,
            LayerBuffer::Qkv,
            LayerBuffer::Attended,
            LayerBuffer::Bcx,
            LayerBuffer::Convolved,
            LayerBuffer::Result,
            LayerBuffer::GateUp,
            LayerBuffer::Gated,
        ];
        let deltas = if config.has_attention() { 2 * rows * config.heads } else { 0 };
        like.iter().map(|buffer| buffer.bytes(config, rows)).sum::<u64>()
            + if deltas > 0 { buffer_bytes::<f32>(deltas) } else { 0 }
            + lora_hidden_bytes(layout, rows)
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
            layers: (0..model.config().layers.len())
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
    /// Keys and values, if the layer has attention.
    pub kv: Option<[Buffer<u32>; 2]>,
    /// Inputs of a convolution, if a layer has one. Shared scratch, like `convolved` in the block: both are cheap to
    /// compute again from B, C and x.
    pub u: Option<Buffer<u32>>,
    /// Intermediate activations. `normed` and `gated` are shared scratch and hold no values any more.
    pub block: Block,
}

impl Saved {
    /// What a layer described by `layer` keeps of past positions.
    pub fn past(&self, layer: &LayerConfig) -> Past<'_> {
        if layer.has_attention() {
            let [k, v] = self.kv.as_ref().expect("training keeps keys and values of attention");
            Past::Attention { k, v }
        } else {
            Past::Conv { u: self.u.as_ref().expect("training has inputs of convolutions") }
        }
    }

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
        let past = self.past(&model.config().layers[index]);
        record_mixer(rec, model, index, rows, &self.block, past, self.unnormed.as_ref(), &self.middle)?;
        record_ffn(rec, model, index, rows, &self.block, &self.middle)?;
        // The norm behind the feed-forward half reads its result again.
        record_down_result(rec, model, index, rows, &self.block)
    }
}

/// Values that are the same for all layers.
pub(crate) struct Backward<'a> {
    pub model: &'a Model,
    pub rows: Rows<'a>,
    pub key_tiles: &'a Buffer<KeyTile>,
    pub n_key_tiles: usize,
    /// Largest number of rows that attend to one position.
    pub readers: usize,
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
        let described = &config.layers[index];
        let weights = self.model.weights();
        let layer = &weights.layers[index];
        let n = self.rows.batch.rows;
        let Gradients { d_gate_up, d_gated, .. } = self.gradients;
        let block = &saved.block;

        ops::glu(rec, described.gate, &block.gate_up, &block.gated, n)?;
        let d_down = self.result(rec, Site::Down, index, block)?;
        self.linear(
            rec,
            (&layer.down, Site::Down, index),
            block,
            &block.gated,
            d_down,
            Some((d_gated, Store::Overwrite)),
        )?;
        ops::glu_backward(rec, described.gate, &block.gate_up, d_gated, d_gate_up, n)?;
        let gate_up = (&layer.gate_up, Site::GateUp, index);
        self.input(rec, gate_up, block, layer.ffn_norm.as_ref(), &saved.middle, d_gate_up, true)?;

        let (first, d_first) = match &layer.mixer {
            Mixer::Attention { qkv, head_norms, o } => {
                let d_qkv = self.attention(rec, index, saved, head_norms.as_ref(), o)?;
                ((qkv, Site::Qkv, index), d_qkv)
            }
            Mixer::Conv { input, taps, output } => {
                ((input, Site::ConvIn, index), self.conv(rec, index, saved, taps, output)?)
            }
        };
        self.input(rec, first, block, layer.attention_norm.as_ref(), &saved.input, d_first, input_wanted)
    }

    /// The backward pass of attention, from the residual stream to the gradient of queries, keys and values.
    fn attention(
        &self,
        rec: &mut Recording,
        index: usize,
        saved: &Saved,
        norms: Option<&[Buffer<f32>; 2]>,
        o: &Weight,
    ) -> Result<&Activation, ShapeError> {
        let config = self.model.config();
        let n = self.rows.batch.rows;
        let gradients = self.gradients.attention.as_ref();
        let (d_qkv, d_attended, delta) = gradients.expect("a layer has attention");
        let AttentionBlock { q, attended, lse, .. } = saved.block.attention();
        let [k, v] = saved.kv.as_ref().expect("training keeps keys and values of attention");
        let d_o = self.result(rec, Site::O, index, &saved.block)?;
        let d_x = Some((d_attended, Store::Overwrite));
        self.linear(rec, (o, Site::O, index), &saved.block, attended, d_o, d_x)?;
        let lse = lse.as_ref().expect("training keeps the log-sum-exp of every layer");
        let kept = AttentionSaved { q, k, v, out: attended, lse };
        let shape = config.layers[index].attention(self.rows.shape);
        ops::attention_backward(
            rec,
            &shape,
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
            self.readers,
        )?;
        let table = self.rows.rotations.of_layer(index);
        ops::rope_backward(rec, &shape, d_qkv, self.rows.rows_at, table, n)?;
        if let Some(norms) = norms {
            let x = saved.unnormed.as_ref().expect("training keeps what enters the heads' norms");
            for (norm, offset, heads) in head_norms(config, norms) {
                ops::head_norm_backward(rec, x, norm, config.norm_eps, offset, heads, d_qkv, n)?;
            }
        }
        Ok(d_qkv)
    }

    /// The backward pass of a convolution, from the residual stream to the gradient of B, C and x.
    fn conv(
        &self,
        rec: &mut Recording,
        index: usize,
        saved: &Saved,
        taps: &Buffer<f32>,
        output: &Weight,
    ) -> Result<&Activation, ShapeError> {
        let (d_bcx, d_convolved) = self.gradients.conv.as_ref().expect("a layer has a convolution");
        let shape = conv_shape(self.model.config(), index, &self.rows);
        let block = saved.block.conv();
        let u = saved.u.as_ref().expect("training has inputs of convolutions");
        // All layers share the convolution's inputs and results.
        record_conv(rec, &shape, &self.rows, block, taps, u)?;
        let ConvBlock { bcx, convolved } = block;
        let d_output = self.result(rec, Site::ConvOut, index, &saved.block)?;
        let d_x = Some((d_convolved, Store::Overwrite));
        self.linear(rec, (output, Site::ConvOut, index), &saved.block, convolved, d_output, d_x)?;
        ops::short_conv_backward(
            rec,
            &shape,
            self.rows.tiles,
            self.rows.batch.tiles,
            self.rows.batch.tile_rows,
            self.key_tiles,
            self.n_key_tiles,
            self.rows.rows_at,
            bcx,
            u,
            taps,
            d_convolved,
            d_bcx,
        )?;
        Ok(d_bcx)
    }

    /// The gradient of what a half's last matrices give: that of the residual stream, or through the norm behind the
    /// half.
    fn result(
        &self,
        rec: &mut Recording,
        site: Site,
        index: usize,
        block: &Block,
    ) -> Result<&Activation, ShapeError> {
        let Gradients { d_x, d_result, .. } = self.gradients;
        let weights = self.model.weights();
        let (norm, half) = weights.layers[index].norm_after(site);
        let (Some(norm), Some(results), Some(d_result)) = (norm, &block.results, d_result) else {
            return Ok(d_x);
        };
        let (eps, n) = (self.model.config().norm_eps, self.rows.batch.rows);
        ops::rms_norm_backward(rec, &results[half], norm, eps, d_x, d_result, n, Store::Overwrite)?;
        Ok(d_result)
    }

    /// The backward pass of a half's first matrices and of the norm before them, if there is one: adds to the gradient of
    /// the residual stream if it is `wanted`. `x` is the residual stream that the half read.
    #[expect(clippy::too_many_arguments, reason = "a linear, its norm, its input and its gradient")]
    fn input(
        &self,
        rec: &mut Recording,
        linear: (&Weight, Site, usize),
        block: &Block,
        norm: Option<&Buffer<f32>>,
        x: &Activation,
        d_y: &Activation,
        wanted: bool,
    ) -> Result<(), ShapeError> {
        let Gradients { d_x, d_normed, .. } = self.gradients;
        let n = self.rows.batch.rows;
        let input = record_norm_before(rec, self.model, norm, block, x, n)?;
        let Some(norm) = norm else {
            return self.linear(rec, linear, block, input, d_y, wanted.then_some((d_x, Store::Add)));
        };
        self.linear(rec, linear, block, input, d_y, wanted.then_some((d_normed, Store::Overwrite)))?;
        if wanted {
            let eps = self.model.config().stream_eps();
            ops::rms_norm_backward(rec, x, norm, eps, d_normed, d_x, n, Store::Add)?;
        }
        Ok(())
    }

    /// A stacked linear with its adapters: gradients of the factors, and of `x` if it is needed, which replaces the old
    /// values or is added to them.
    fn linear(
        &self,
        rec: &mut Recording,
        (weight, site, layer): (&Weight, Site, usize),
        block: &Block,
        x: &Activation,
        d_y: &Activation,
        d_x: Option<(&Activation, Store)>,
    ) -> Result<(), ShapeError> {
        if let Some((d_x, store)) = d_x {
            ops::linear_backward(rec, weight, d_y, d_x, self.rows.batch.rows, store)?;
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
            Some((d_x, _)) => ops::lora_shrink_backward(rec, place, params, rows, d_h, d_x),
            None => Ok(()),
        }
    }
}
