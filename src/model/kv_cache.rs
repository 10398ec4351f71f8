//! Keys and values of past positions.

use super::config::ModelConfig;
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::ops::{AttentionShape, KvFormat};

/// Keys and values of `slots` sequences of up to `context` positions each, by layer.
///
/// Layout of each buffer: `(slots, context, kv_heads, chunks of 8 dimensions)`, so that a prefix of a
/// sequence is contiguous.
#[derive(Debug)]
pub struct KvCache {
    shape: AttentionShape,
    layers: Vec<(Buffer<u32>, Buffer<u32>)>,
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
        let layers = config.layers.iter().map(|_| {
            Ok((
                device.buffer("key cache", shape.cache_len())?,
                device.buffer("value cache", shape.cache_len())?,
            ))
        });
        Ok(KvCache { shape, layers: layers.collect::<Result<_, DeviceError>>()? })
    }

    /// The shape of attention with this cache.
    pub fn shape(&self) -> &AttentionShape {
        &self.shape
    }

    /// Cache position of the first token of the sequence in `slot`.
    pub(crate) fn base(&self, slot: usize) -> u32 {
        (slot * self.shape.context) as u32
    }

    /// Keys and values of a layer.
    pub(crate) fn layer(&self, index: usize) -> (&Buffer<u32>, &Buffer<u32>) {
        let (k, v) = &self.layers[index];
        (k, v)
    }

    /// Device memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|(k, v)| k.bytes() + v.bytes()).sum()
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
        let slot_words = self.shape.context * self.shape.position_words();
        let words = positions * self.shape.position_words();
        let between = rec.device().buffer("prefix on its way", words)?;
        for cache in self.layers.iter().flat_map(|(k, v)| [k, v]) {
            rec.copy(cache, from * slot_words, &between, 0, words);
            rec.copy(&between, 0, cache, to * slot_words, words);
        }
        Ok(())
    }
}
