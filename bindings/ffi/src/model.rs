//! A model on a GPU, and recovery from a lost GPU.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use parr::chat::{ChatError, DEFAULT_CONTEXT};
use parr::format::Checkpoint;
use parr::gpu::{Device, DeviceOptions};
use parr::model::LoadOptions;
use parr::quant::Quant;
use parr::tokenizer::ChatFormat;

use crate::ParrError;
use crate::call::{lock, start};
use crate::callback::{Callbacks, ProgressListener};

/// Options for loading a model.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ModelOptions {
    /// Name of a pulled model, a GGUF file or a Hugging Face directory.
    pub model: String,
    /// Index of a GPU, or any part of its name. Without it the best GPU is used.
    #[uniffi(default = None)]
    pub gpu: Option<String>,
    /// Maximum device memory for the model and everything that uses it, in MiB.
    #[uniffi(default = None)]
    pub memory_mib: Option<u64>,
    /// Format in which to keep the weights of a safetensors model: `q4_0`, `q8_0`, `f16`, ...
    #[uniffi(default = None)]
    pub quant: Option<String>,
}

/// Properties of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ModelInfo {
    /// The file or directory.
    pub path: String,
    /// Number of decoder layers.
    pub layers: u32,
    /// Number of tokens in the vocabulary.
    pub vocabulary: u32,
    /// Number of positions that the model was trained for.
    pub context: u32,
    /// Device memory of the weights, in bytes.
    pub weight_bytes: u64,
    /// Whether the model can chat: it has a tokenizer and a chat template.
    pub chat: bool,
    /// The GPU's name.
    pub gpu: String,
}

/// Device memory used through one model: weights, sessions, reward models, training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct MemoryReport {
    /// Bytes in use now.
    pub current_bytes: u64,
    /// Most bytes in use at any one time.
    pub peak_bytes: u64,
    /// Maximum number of bytes, if the app set a budget.
    pub budget_bytes: Option<u64>,
}

/// A model on a GPU. All its sessions, reward models and training runs share the weights.
///
/// If the GPU is lost, the calls that use it fail with [`ParrError::DeviceLost`]. The next call opens the
/// GPU and loads the weights again. Sessions keep their messages.
#[derive(Debug, uniffi::Object)]
pub struct Model {
    path: PathBuf,
    options: DeviceOptions,
    quant: Option<Quant>,
    budget_bytes: Option<u64>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    model: Option<parr::model::Model>,
    opened: u64,
}

/// The weights as they are on the device now.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub model: parr::model::Model,
    /// How often the device was opened. Objects made for an earlier device are invalid.
    pub opened: u64,
}

impl Loaded {
    /// The model's chat template.
    pub fn chat(&self) -> Result<&ChatFormat, ParrError> {
        self.model.check_chat()?;
        self.model.chat_format().ok_or_else(|| {
            ParrError::Mismatch("the model has no tokenizer or no chat template: it cannot chat".to_owned())
        })
    }
}

#[uniffi::export]
impl Model {
    /// Loads a model onto a GPU.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`] if there is no such model, or it was not pulled;
    /// * [`ParrError::Format`] if the model is damaged or its architecture is unknown;
    /// * [`ParrError::Gpu`] if there is no such GPU;
    /// * [`ParrError::Memory`] if the weights exceed the budget or the GPU.
    #[uniffi::constructor(default(listener = None))]
    pub async fn load(
        options: ModelOptions,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<Arc<Self>, ParrError> {
        start(None, move |token| {
            let quant = options.quant.as_deref().map(quant).transpose()?;
            let model = Model {
                path: parr::hub::resolve(&options.model)?,
                options: DeviceOptions { adapter: options.gpu, ..DeviceOptions::default() },
                quant,
                budget_bytes: options.memory_mib.map(|mib| mib << 20),
                slot: Mutex::default(),
            };
            let callbacks = Callbacks::default();
            model.open(&mut lock(&model.slot), &mut |done, total| {
                if let Some(listener) = &listener {
                    callbacks.call(token, || listener.on_progress(done, Some(total)));
                }
            })?;
            callbacks.check()?;
            Ok(Arc::new(model))
        })
        .await
    }

    /// Returns the model's properties.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::load`] if the GPU was lost.
    pub fn info(&self) -> Result<ModelInfo, ParrError> {
        let Loaded { model, .. } = self.loaded()?;
        let config = model.config();
        Ok(ModelInfo {
            path: self.path.to_string_lossy().into_owned(),
            layers: config.layers.len() as u32,
            vocabulary: config.vocab as u32,
            context: config.context as u32,
            weight_bytes: model.weight_bytes(),
            chat: model.chat_format().is_some(),
            gpu: model.device().capabilities().adapter.clone(),
        })
    }

    /// Returns the device memory used through this model.
    pub fn memory(&self) -> MemoryReport {
        let used = lock(&self.slot).model.as_ref().map(|model| model.device().memory()).unwrap_or_default();
        MemoryReport {
            current_bytes: used.current_bytes,
            peak_bytes: used.peak_bytes,
            budget_bytes: self.budget_bytes,
        }
    }

    /// Releases the GPU and everything on it immediately, for an app that goes into the background. Running
    /// calls fail with [`ParrError::DeviceLost`]. The next call loads the weights again.
    pub fn release(&self) {
        if let Some(model) = lock(&self.slot).model.take() {
            model.device().release();
        }
    }
}

impl Model {
    /// The weights, loaded again if their device was lost.
    pub(crate) fn loaded(&self) -> Result<Loaded, ParrError> {
        let mut slot = lock(&self.slot);
        match &slot.model {
            Some(model) if !model.device().is_lost() => {}
            _ => self.open(&mut slot, &mut |_, _| {})?,
        }
        let model = slot.model.clone().expect("just opened");
        Ok(Loaded { model, opened: slot.opened })
    }

    fn open(&self, slot: &mut Slot, progress: &mut dyn FnMut(u64, u64)) -> Result<(), ParrError> {
        slot.model = None;
        // Weights need at least their size in the file. This is checked before the device is opened.
        if self.quant.is_none() {
            let checkpoint = Checkpoint::open(&self.path)?;
            let stored = checkpoint.tensors().map(|info| checkpoint.bytes(info).len() as u64).sum();
            self.fits("the weights", 0, stored)?;
        }
        let device = Device::open(&self.options)?;
        let options = LoadOptions { quant: self.quant };
        let model = parr::model::Model::load(&device, &self.path, &options, &mut |loaded| {
            progress(loaded.done_bytes, loaded.total_bytes);
        })?;
        self.fits("the weights", 0, device.memory().current_bytes)?;
        slot.model = Some(model);
        slot.opened += 1;
        Ok(())
    }

    /// `Ok` if `bytes` more for `what` fit into the budget.
    pub(crate) fn room(&self, loaded: &Loaded, what: &str, bytes: u64) -> Result<(), ParrError> {
        self.fits(what, loaded.model.device().memory().current_bytes, bytes)
    }

    fn fits(&self, what: &str, held: u64, more: u64) -> Result<(), ParrError> {
        let Some(budget) = self.budget_bytes.filter(|&budget| held.saturating_add(more) > budget) else {
            return Ok(());
        };
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        Err(ParrError::Memory(format!(
            "{what} need {} MiB beside the {} MiB that are held; the budget is {} MiB",
            mib(more),
            mib(held),
            mib(budget)
        )))
    }

    /// The budget for device memory, in bytes, if the app set one.
    pub(crate) fn budget_bytes(&self) -> Option<u64> {
        self.budget_bytes
    }

    /// The context of a generator: as asked for, or the default.
    pub(crate) fn context(&self, loaded: &Loaded, asked: Option<u32>) -> Result<usize, ParrError> {
        let most = loaded.model.config().context;
        let context = asked.map_or(DEFAULT_CONTEXT.min(most), |tokens| tokens as usize);
        if context > most {
            return Err(ChatError::Context { asked: context, most }.into());
        }
        Ok(context)
    }

    /// Maximum memory for training, in MiB: the budget less what others use in addition to the weights.
    pub(crate) fn training_mib(&self, loaded: &Loaded) -> Option<usize> {
        let held = loaded.model.device().memory().current_bytes.saturating_sub(loaded.model.weight_bytes());
        self.budget_bytes.map(|budget| (budget.saturating_sub(held) >> 20).max(1) as usize)
    }
}

fn quant(name: &str) -> Result<Quant, ParrError> {
    Quant::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Quant::ALL.iter().map(|quant| quant.name()).collect();
        ParrError::Argument(format!("unknown format `{name}`, expected one of {}", known.join(" ")))
    })
}
