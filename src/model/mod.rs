//! Architectures, weights on the device, and the forward pass.

mod backward;
pub mod config;
mod forward;
mod kv_cache;
pub mod lora;
mod random;
pub mod text;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub use config::ModelConfig;
pub use kv_cache::KvCache;
pub(crate) use kv_cache::cache_shape;
pub use weights::LoadProgress;

pub(crate) use backward::{AdapterGradients, Backward, Gradients, Learning, Saved};
pub(crate) use forward::{
    BatchShape, Block, Rows, Workspace, lora_hidden, lora_hidden_bytes, record_attention, record_down,
    record_ffn, record_layers, record_logits,
};

use crate::Error;
use crate::format::{Checkpoint, LoadError};
use crate::gpu::Device;
use crate::quant::Quant;
use crate::tokenizer::{ChatFormat, TokenId, Tokenizer};
use weights::{CheckpointSource, Weights};

/// How to load a model. The default keeps every tensor in its stored format.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Format for matrices that the checkpoint stores as floats. If its blocks do not divide a row,
    /// `q8_0` or else `f16` is used. Matrices that are already quantized are unchanged.
    pub quant: Option<Quant>,
}

/// A model whose weights are on a device. Clones share them.
#[derive(Clone, Debug)]
pub struct Model {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: Device,
    config: ModelConfig,
    weights: Weights,
    path: Option<PathBuf>,
    content_hash: OnceLock<String>,
    tokenizer: Option<Arc<Tokenizer>>,
    chat: Option<ChatFormat>,
}

impl Model {
    /// Loads a GGUF file or a Hugging Face directory. A directory without `tokenizer.json` gives a
    /// model that takes token ids only.
    ///
    /// # Errors
    ///
    /// * [`Error::Load`] if the checkpoint is damaged or of an unknown architecture;
    /// * [`Error::Text`] if its tokenizer or chat template is damaged or of an unknown kind;
    /// * [`Error::Device`] if the device cannot hold the model.
    pub fn load(
        device: &Device,
        path: &Path,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Model, Error> {
        let checkpoint = Checkpoint::open(path)?;
        let config = ModelConfig::from_checkpoint(&checkpoint)?;
        let text = text::load(&checkpoint)?;
        let mut source = CheckpointSource {
            checkpoint: &checkpoint,
            head_dim: config.head_dim,
            quant: options.quant,
            progress,
            done_bytes: 0,
            total_bytes: checkpoint.tensors().map(|info| checkpoint.bytes(info).len() as u64).sum(),
        };
        let weights = weights::load(device, &config, &mut source)?;
        let (tokenizer, chat) = (text.tokenizer, text.chat);
        let inner = Inner {
            device: device.clone(),
            config,
            weights,
            path: Some(path.to_owned()),
            content_hash: OnceLock::new(),
            tokenizer,
            chat,
        };
        Ok(Model { inner: Arc::new(inner) })
    }

    /// A model of the shape of `config` with pseudo-random weights in `quant`: for measuring speed
    /// without a checkpoint. It has no tokenizer.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device cannot hold the model.
    pub fn random(device: &Device, config: &ModelConfig, quant: Quant, seed: u64) -> Result<Model, Error> {
        let weights = weights::load(device, config, &mut random::RandomSource::new(quant, seed))?;
        let inner = Inner {
            device: device.clone(),
            config: config.clone(),
            weights,
            path: None,
            content_hash: OnceLock::new(),
            tokenizer: None,
            chat: None,
        };
        Ok(Model { inner: Arc::new(inner) })
    }

    /// The device that holds the model.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.inner.config
    }

    /// The path from which the model was loaded.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// [`Checkpoint::content_hash`] of the files that the model was loaded from, or `None` for a model that
    /// was loaded from none. The first call computes it; later calls, and those of clones, return the same
    /// hash without reading anything.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the files cannot be read again.
    pub fn content_hash(&self) -> Result<Option<&str>, LoadError> {
        let Some(path) = self.path() else { return Ok(None) };
        if let Some(hash) = self.inner.content_hash.get() {
            return Ok(Some(hash));
        }
        let hash = Checkpoint::open(path)?.content_hash()?;
        Ok(Some(self.inner.content_hash.get_or_init(|| hash)))
    }

    /// The model's tokenizer, if the checkpoint has one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.inner.tokenizer.as_deref()
    }

    /// The model's chat template, if the checkpoint has one.
    pub fn chat_format(&self) -> Option<&ChatFormat> {
        self.inner.chat.as_ref()
    }

    /// Tokenizer and chat template, each if the checkpoint has one.
    pub fn text(&self) -> text::Text {
        text::Text { tokenizer: self.inner.tokenizer.clone(), chat: self.inner.chat.clone() }
    }

    /// The tokens that end a reply: those that close a turn in the chat template, or else the tokenizer's
    /// end-of-text token. Empty for a model without a tokenizer.
    pub fn end_tokens(&self) -> Vec<TokenId> {
        match (self.chat_format(), self.tokenizer()) {
            (Some(chat), _) => chat.end_of_turn().to_vec(),
            (None, Some(tokenizer)) => tokenizer.eos().into_iter().collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Whether both models share the same weights on the same device.
    pub(crate) fn is(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Device memory of the weights, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.inner.weights.bytes
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.inner.weights
    }
}
