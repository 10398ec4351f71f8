//! The activations of a layer: each is declared once, and both allocation and the memory plan follow.

use super::config::{LayerConfig, ModelConfig};
use crate::gpu::{Device, DeviceError};
use crate::ops::Activation;

/// An activation of a layer, `(rows, width)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerBuffer {
    /// The residual stream.
    Stream,
    /// The residual stream after the norm before a half.
    Normed,
    /// Queries, keys and values.
    Qkv,
    /// Queries and keys before their norms, with the values; only if a layer has such norms.
    Unnormed,
    /// Rotated queries in the layout that attention reads.
    Q,
    /// The heads' results.
    Attended,
    /// B, C and x of a short convolution.
    Bcx,
    /// The convolution's results.
    Convolved,
    /// The result of a half before its norm; only if a layer has norms behind its halves.
    Result,
    /// Gates and ups.
    GateUp,
    /// Ups times their activated gates.
    Gated,
}

impl LayerBuffer {
    /// Those of one layer that generation needs, except the residual stream.
    pub const OF_BLOCK: [LayerBuffer; 9] = [
        LayerBuffer::Normed,
        LayerBuffer::Qkv,
        LayerBuffer::Q,
        LayerBuffer::Attended,
        LayerBuffer::Bcx,
        LayerBuffer::Convolved,
        LayerBuffer::Result,
        LayerBuffer::GateUp,
        LayerBuffer::Gated,
    ];

    /// Name in error messages.
    fn name(self) -> &'static str {
        match self {
            LayerBuffer::Stream => "residual stream",
            LayerBuffer::Normed => "normed rows",
            LayerBuffer::Qkv => "q, k and v",
            LayerBuffer::Unnormed => "q and k before their norms",
            LayerBuffer::Q => "rotated q",
            LayerBuffer::Attended => "attention output",
            LayerBuffer::Bcx => "B, C and x",
            LayerBuffer::Convolved => "convolution output",
            LayerBuffer::Result => "result of a half before its norm",
            LayerBuffer::GateUp => "gate and up",
            LayerBuffer::Gated => "gated rows",
        }
    }

    /// Whether a layer of this kind has it, if the model has it.
    pub fn is_of(self, layer: &LayerConfig) -> bool {
        match self {
            LayerBuffer::Qkv | LayerBuffer::Unnormed | LayerBuffer::Q | LayerBuffer::Attended => {
                layer.has_attention()
            }
            LayerBuffer::Bcx | LayerBuffer::Convolved => layer.conv.is_some(),
            _ => true,
        }
    }

    /// Columns, of `config`; 0 if no layer has it.
    pub fn width(self, config: &ModelConfig) -> usize {
        let q_out = config.heads * config.head_dim;
        if !config.layers.iter().any(|layer| self.is_of(layer)) {
            return 0;
        }
        match self {
            LayerBuffer::Stream | LayerBuffer::Normed => config.hidden,
            LayerBuffer::Qkv => q_out + 2 * config.kv_heads * config.head_dim,
            LayerBuffer::Unnormed if config.has_head_norms() => LayerBuffer::Qkv.width(config),
            LayerBuffer::Unnormed => 0,
            LayerBuffer::Q => config.heads * config.head_dim.next_multiple_of(32),
            LayerBuffer::Attended => q_out,
            LayerBuffer::Bcx => 3 * config.hidden,
            LayerBuffer::Convolved => config.hidden,
            LayerBuffer::Result if config.has_norms_after() => config.hidden,
            LayerBuffer::Result => 0,
            LayerBuffer::GateUp => 2 * config.ffn,
            LayerBuffer::Gated => config.ffn,
        }
    }

    /// Allocates it for `rows` rows.
    pub fn allocate(
        self,
        device: &Device,
        config: &ModelConfig,
        rows: usize,
    ) -> Result<Activation, DeviceError> {
        Activation::new(device, self.name(), rows, self.width(config))
    }

    /// Allocates it for `rows` rows, if a layer has it.
    pub fn wanted(
        self,
        device: &Device,
        config: &ModelConfig,
        rows: usize,
    ) -> Result<Option<Activation>, DeviceError> {
        (self.width(config) > 0).then(|| self.allocate(device, config, rows)).transpose()
    }

    /// Device memory for `rows` rows, in bytes.
    pub fn bytes(self, config: &ModelConfig, rows: usize) -> u64 {
        match self.width(config) {
            0 => 0,
            width => Activation::bytes(rows, width),
        }
    }
}
