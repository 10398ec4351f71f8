//! Architectures, weights on the device, and the forward pass.

mod backward;
pub mod config;
mod fault;
mod forward;
mod kv_cache;
mod layer_buffer;
pub mod lora;
mod mixer;
mod notes;
mod products;
mod random;
mod rotations;
mod rows;
pub mod text;
mod weights;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

pub use config::ModelConfig;
pub use fault::Part;
pub(crate) use fault::{damaged_tensor, first_fault};
pub use kv_cache::KvCache;
pub(crate) use kv_cache::cache_shape;
pub use products::Product;
pub use weights::LoadProgress;

pub(crate) use backward::{AdapterGradients, Backward, Gradients, Learning, Saved};
pub(crate) use forward::{
    BatchShape, Block, LoraHidden, Rows, Workspace, lora_hidden, lora_hidden_bytes, record_down,
    record_embedding, record_ffn, record_final_norm, record_head, record_layers, record_logits,
};
pub(crate) use layer_buffer::LayerBuffer;
pub(crate) use mixer::{AttentionBlock, ConvBlock, record_mixer};
pub(crate) use rotations::Rotations;

use crate::Error;
use crate::format::{Checkpoint, LoadError};
use crate::gpu::Device;
use crate::quant::Quant;
use crate::tokenizer::{ChatFormat, TextError, TokenId, Tokenizer};
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
    /// The shape of the first layers alone, if the model is only those.
    first: Option<Arc<ModelConfig>>,
    /// Another tokenizer and chat template than the checkpoint's.
    own_text: Option<Arc<text::Text>>,
}

#[derive(Debug)]
struct Inner {
    device: Device,
    config: ModelConfig,
    weights: RwLock<Arc<Weights>>,
    /// Held while the weights are loaded again, so that this happens once per loss.
    reloading: Mutex<()>,
    source: Source,
    content_hash: OnceLock<String>,
    text: text::Text,
    unused: Vec<String>,
    notes: Vec<String>,
}

/// Where weights come from, for loading them again.
#[derive(Debug)]
enum Source {
    Checkpoint(PathBuf, LoadOptions),
    Random(Quant, u64),
}

impl Model {
    /// Loads a GGUF file or a Hugging Face directory. A directory without `tokenizer.json` gives a
    /// model that takes token ids only.
    ///
    /// # Errors
    ///
    /// * [`Error::Load`] if the checkpoint is damaged or of an unknown architecture;
    /// * [`Error::Device`] if the device cannot hold the model.
    ///
    /// A tokenizer or chat template that is damaged or of an unknown kind is an error only where it is needed: see
    /// [`Model::check_tokenizer`] and [`Model::check_chat`].
    pub fn load(
        device: &Device,
        path: &Path,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Model, Error> {
        let checkpoint = Checkpoint::open(path)?;
        let config = ModelConfig::from_checkpoint(&checkpoint)?;
        let text = text::load(&checkpoint);
        let (weights, used) = load_weights(device, &checkpoint, &config, options, progress)?;
        let unused = notes::unused(&checkpoint, &config, &used);
        let mut notes = notes::notes(&checkpoint, &config, &unused);
        notes.extend(text.tokenizer().map_or(&[][..], Tokenizer::notes).iter().map(ToString::to_string));
        let inner = Inner {
            device: device.clone(),
            config,
            weights: RwLock::new(Arc::new(weights)),
            reloading: Mutex::default(),
            source: Source::Checkpoint(path.to_owned(), *options),
            content_hash: OnceLock::new(),
            text,
            unused,
            notes,
        };
        Ok(Model { inner: Arc::new(inner), first: None, own_text: None })
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
            weights: RwLock::new(Arc::new(weights)),
            reloading: Mutex::default(),
            source: Source::Random(quant, seed),
            content_hash: OnceLock::new(),
            text: text::Text::default(),
            unused: Vec::new(),
            notes: Vec::new(),
        };
        Ok(Model { inner: Arc::new(inner), first: None, own_text: None })
    }

    /// The model of the first `layers` layers, which shares the weights. The final norm follows the last of them.
    /// `None` if there are none, or more than the model has.
    ///
    /// A reward model that is trained on half of the layers learns faster, and costs half as much.
    ///
    /// ```no_run
    /// let model = parr::Model::open("smollm2")?;
    /// let half = model.first_layers(15).ok_or("the model has 30 layers")?;
    /// assert_eq!(half.config().layers.len(), 15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_layers(&self, layers: usize) -> Option<Model> {
        let config = self.config();
        if layers == 0 || layers > config.layers.len() {
            return None;
        }
        let first = ModelConfig { layers: config.layers[..layers].to_vec(), ..config.clone() };
        Some(Model { first: Some(Arc::new(first)), ..self.clone() })
    }

    /// The same model with another tokenizer or chat template. It shares the weights and takes no memory of its own.
    ///
    /// ```no_run
    /// use parr::tokenizer::{TemplateValue, named_template};
    ///
    /// let model = parr::Model::open("mine.gguf")?;
    /// let source = named_template("chatml").expect("a known name");
    /// let text = model.text().clone().with_template(source)?;
    /// let model = model.with_text(text.with_variable("enable_thinking", TemplateValue::Bool(false)));
    /// # Ok::<(), parr::Error>(())
    /// ```
    #[must_use]
    pub fn with_text(&self, text: text::Text) -> Model {
        Model { own_text: Some(Arc::new(text)), ..self.clone() }
    }

    /// Opens the device again if it was lost, and loads the weights again, from the same files in the same
    /// formats. All clones of the model then have the new weights. If the weights are still there, this does
    /// nothing. Generators, sessions and adapters from before stay lost.
    ///
    /// # Errors
    ///
    /// * [`Error::Device`] if the device cannot be opened again, or was lost again;
    /// * [`Error::Load`] if the files cannot be read, or are those of another model now.
    ///
    /// ```no_run
    /// # let model = parr::Model::open("smollm2")?;
    /// if model.device().is_lost() {
    ///     model.reload()?;
    /// }
    /// # Ok::<(), parr::Error>(())
    /// ```
    pub fn reload(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let _turn = inner.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        inner.device.reopen()?;
        if self.weights().generation == inner.device.generation() {
            return Ok(());
        }
        let weights = match &inner.source {
            Source::Checkpoint(path, options) => {
                let replaced = || Error::from(LoadError::Replaced { path: path.clone() });
                let checkpoint = Checkpoint::open(path)?;
                if ModelConfig::from_checkpoint(&checkpoint)? != inner.config {
                    return Err(replaced());
                }
                if let Some(hash) = inner.content_hash.get()
                    && checkpoint.content_hash()? != *hash
                {
                    return Err(replaced());
                }
                load_weights(&inner.device, &checkpoint, &inner.config, options, &mut |_| {})?.0
            }
            Source::Random(quant, seed) => {
                let mut source = random::RandomSource::new(*quant, *seed);
                weights::load(&inner.device, &inner.config, &mut source)?
            }
        };
        *inner.weights.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(weights);
        Ok(())
    }

    /// Runs `open`, which puts something on the device beside the weights. If the driver refuses a kernel
    /// meanwhile, which costs the device, loads the weights again and runs `open` again: another kernel is used
    /// then. A table on disk holds the refused ones, so this happens once per driver.
    pub(crate) fn opening<T, E>(&self, mut open: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        loop {
            let refused = self.device().refused_kernels().len();
            let error = match open() {
                Err(error) if self.is_lost() => error,
                result => return result,
            };
            if self.device().refused_kernels().len() == refused || self.reload().is_err() {
                return Err(error);
            }
        }
    }

    /// Whether buffers of this `generation` of the device are lost, and the app did not release the device. Another
    /// user of the device may have opened it again already.
    pub(crate) fn is_lost_since(&self, generation: u32) -> bool {
        let device = self.device();
        self.is_lost() || (device.generation() != generation && !device.is_released())
    }

    /// Whether the device was lost, and [`Model::reload`] may bring it back: the app did not release it.
    pub(crate) fn is_lost(&self) -> bool {
        let device = self.device();
        let gone = device.is_lost() || self.weights().generation != device.generation();
        gone && !device.is_released()
    }

    /// The device that holds the model.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        self.first.as_deref().unwrap_or(&self.inner.config)
    }

    /// The path from which the model was loaded.
    pub fn path(&self) -> Option<&Path> {
        match &self.inner.source {
            Source::Checkpoint(path, _) => Some(path),
            Source::Random(..) => None,
        }
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

    /// Names of the checkpoint's tensors that no part of the model reads, sorted.
    pub fn unused_tensors(&self) -> &[String] {
        &self.inner.unused
    }

    /// What a user should know about the checkpoint although it loads, one sentence each: tensors that nothing
    /// reads, a `config.json` that disagrees with the weights, lists that the vocabulary lacks.
    pub fn notes(&self) -> &[String] {
        &self.inner.notes
    }

    /// The model's tokenizer, if the checkpoint has one that can be used.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.text().tokenizer()
    }

    /// The model's chat template, if the checkpoint has one that can be used.
    pub fn chat_format(&self) -> Option<&ChatFormat> {
        self.text().chat()
    }

    /// Whether the checkpoint's tokenizer can be used; `Ok` if it has none.
    ///
    /// # Errors
    ///
    /// [`TextError::Unusable`] with the reason.
    pub fn check_tokenizer(&self) -> Result<(), TextError> {
        self.text().check_tokenizer()
    }

    /// Whether the checkpoint's tokenizer and chat template can be used; `Ok` if it has none.
    ///
    /// # Errors
    ///
    /// [`TextError::Unusable`] with the reason.
    pub fn check_chat(&self) -> Result<(), TextError> {
        self.text().check_chat()
    }

    /// Tokenizer and chat template, each if the checkpoint has one.
    pub fn text(&self) -> &text::Text {
        self.own_text.as_deref().unwrap_or(&self.inner.text)
    }

    /// The tokens that end a reply or a text, in ascending order: those that the model's configuration and its
    /// tokenizer name, and the one that closes a turn in the chat template.
    pub fn end_tokens(&self) -> Vec<TokenId> {
        let named = self.inner.config.eos.iter().copied();
        let all: BTreeSet<TokenId> = named.chain(self.text().end_tokens()).collect();
        all.into_iter().collect()
    }

    /// Whether both models share the same weights on the same device, and have the same layers.
    pub(crate) fn is(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) && self.config().layers.len() == other.config().layers.len()
    }

    /// Device memory of all weights, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.weights().bytes
    }

    /// Device memory that the model takes, in bytes: its weights, and on some software drivers a texture for the
    /// other operand of products, which all models of the device share.
    pub fn device_bytes(&self) -> u64 {
        let weights = self.weights();
        weights.bytes + weights.operand_bytes
    }

    pub(crate) fn weights(&self) -> Arc<Weights> {
        Arc::clone(&self.inner.weights.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The weights, and the names of the tensors that they come from.
fn load_weights(
    device: &Device,
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Weights, HashSet<String>), Error> {
    let mut source = CheckpointSource {
        checkpoint,
        head_dim: config.head_dim,
        norms_around_one: checkpoint.gguf().is_none() && config.architecture.has_norms_around_one(),
        quant: options.quant,
        progress,
        done_bytes: 0,
        total_bytes: checkpoint.tensors().map(|info| checkpoint.bytes(info).len() as u64).sum(),
        used: HashSet::new(),
    };
    let weights = weights::load(device, config, &mut source)?;
    Ok((weights, source.used))
}
