//! What layers keep of past positions: keys and values, or the inputs of a convolution.

use super::config::{LayerConfig, ModelConfig};
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::ops::{AttentionShape, KvFormat, ShortConvShape, buffer_bytes};

/// What a layer keeps of past positions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Past<'a> {
    /// Keys and values of attention.
    Attention { k: &'a Buffer<u32>, v: &'a Buffer<u32> },
    /// Inputs of a short convolution.
    Conv { u: &'a Buffer<u32> },
}

/// Keys and values of `slots` sequences of up to `context` positions each, by layer. A layer with a short convolution
/// keeps the inputs of its filter in their place.
///
/// Layout of each buffer: `(slots, context, kv_heads, chunks of 8 dimensions)`, so that a prefix of a
/// sequence is contiguous. Inputs of a convolution are `(slots, context, chunks of 8 columns)`.
#[derive(Debug)]
pub struct KvCache {
    shape: AttentionShape,
    layers: Vec<Stored>,
}

#[derive(Debug)]
enum Stored {
    Attention([Buffer<u32>; 2]),
    Conv(Buffer<u32>),
}

/// The shape of a cache for `config`. [`LayerConfig::attention`](super::config::LayerConfig::attention) adds what differs
/// by layer.
pub(crate) fn cache_shape(
    config: &ModelConfig,
    slots: usize,
    context: usize,
    kv: KvFormat,
) -> AttentionShape {
    AttentionShape {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
        slots,
        context,
        // Those of a layer are in its description.
        window: None,
        scale: AttentionShape::usual_scale(config.head_dim),
        cap: None,
        kv,
    }
}

impl LayerConfig {
    /// The short convolution of this layer over a cache of shape `cache`, if it has one.
    pub(crate) fn short_conv(&self, config: &ModelConfig, cache: &AttentionShape) -> Option<ShortConvShape> {
        let (width, positions, kv) = (config.hidden, cache.positions(), cache.kv);
        self.conv.map(|taps| ShortConvShape { width, taps, positions, kv })
    }
}

impl KvCache {
    /// An empty cache.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if a layer exceeds a binding: use fewer slots or a shorter context.
    pub fn new(
        device: &Device,
        config: &ModelConfig,
        slots: usize,
        context: usize,
        kv: KvFormat,
    ) -> Result<Self, DeviceError> {
        let shape = cache_shape(config, slots, context, kv);
        let layers = config.layers.iter().map(|layer| match layer.short_conv(config, &shape) {
            Some(conv) => Ok(Stored::Conv(device.buffer("cache of a convolution", conv.cache_len())?)),
            None => Ok(Stored::Attention([
                device.buffer("key cache", shape.cache_len())?,
                device.buffer("value cache", shape.cache_len())?,
            ])),
        });
        Ok(KvCache { shape, layers: layers.collect::<Result<_, DeviceError>>()? })
    }

    /// Device memory of a cache for `config` of shape `shape`, in bytes.
    pub(crate) fn planned_bytes(config: &ModelConfig, shape: &AttentionShape) -> u64 {
        let layer = |layer: &LayerConfig| match layer.short_conv(config, shape) {
            Some(conv) => buffer_bytes::<u32>(conv.cache_len()),
            None => 2 * buffer_bytes::<u32>(shape.cache_len()),
        };
        config.layers.iter().map(layer).sum()
    }

    /// The shape of attention with this cache.
    pub fn shape(&self) -> &AttentionShape {
        &self.shape
    }

    /// Cache position of the first token of the sequence in `slot`.
    pub(crate) fn base(&self, slot: usize) -> u32 {
        (slot * self.shape.context) as u32
    }

    /// What a layer keeps of past positions.
    pub(crate) fn layer(&self, index: usize) -> Past<'_> {
        match &self.layers[index] {
            Stored::Attention([k, v]) => Past::Attention { k, v },
            Stored::Conv(u) => Past::Conv { u },
        }
    }

    fn buffers(&self) -> impl Iterator<Item = &Buffer<u32>> {
        self.layers.iter().flat_map(|layer| match layer {
            Stored::Attention(both) => &both[..],
            Stored::Conv(u) => std::slice::from_ref(u),
        })
    }

    /// Device memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        self.buffers().map(Buffer::bytes).sum()
    }

    /// Records the copy of the first `positions` positions of slot `from` to slot `to`, through another
    /// buffer, because WebGPU only copies between different buffers.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if that buffer cannot be allocated.
    pub(crate) fn copy_prefix(
        &self,
        rec: &mut Recording,
        from: usize,
        to: usize,
        positions: usize,
    ) -> Result<(), DeviceError> {
        let slot_words = |cache: &Buffer<u32>| cache.len() / self.shape.slots.max(1);
        let words = |cache: &Buffer<u32>| slot_words(cache) / self.shape.context.max(1) * positions;
        let between =
            rec.device().buffer("prefix on its way", self.buffers().map(words).max().unwrap_or(0))?;
        for cache in self.buffers() {
            let (slot, words) = (slot_words(cache), words(cache));
            rec.copy(cache, from * slot, &between, 0, words);
            rec.copy(&between, 0, cache, to * slot, words);
        }
        Ok(())
    }
}
