//! A model by path, name or URL.

use std::fmt;

use crate::Error;
use crate::gpu::{Device, DeviceOptions};
#[cfg(feature = "pull")]
use crate::hub::{ModelSpec, PullEvent, PullOptions, pull};
use crate::model::{LoadOptions, LoadProgress, Model};
use crate::quant::Quant;

impl Model {
    /// Opens a model on the best GPU. `model` is a GGUF file, a Hugging Face directory, a catalog name such
    /// as `smollm2`, `ORG/REPO[:FILE]`, or the URL of a file on the Hugging Face hub. A name must have been
    /// pulled before; [`ModelBuilder::pull`] pulls it.
    ///
    /// # Errors
    ///
    /// * [`Error::Hub`] if there is no such model, or it was not pulled;
    /// * [`Error::Load`] and [`Error::Text`] if its files are damaged or not supported;
    /// * [`Error::Device`] if there is no GPU, or it cannot hold the model.
    ///
    /// ```no_run
    /// let model = parr::Model::open("smollm2")?;
    /// # Ok::<(), parr::Error>(())
    /// ```
    pub fn open(model: impl Into<String>) -> Result<Model, Error> {
        Model::builder(model).open()
    }

    /// Options for opening `model`, which is named as in [`Model::open`].
    ///
    /// ```no_run
    /// let model = parr::Model::builder("smollm2").pull().gpu("llvmpipe").open()?;
    /// # Ok::<(), parr::Error>(())
    /// ```
    pub fn builder(model: impl Into<String>) -> ModelBuilder<'static> {
        ModelBuilder {
            model: model.into(),
            device: None,
            options: DeviceOptions::default(),
            load: LoadOptions::default(),
            on_load: Box::new(|_| {}),
            #[cfg(feature = "pull")]
            on_pull: None,
        }
    }
}

/// Receives the events of a download.
#[cfg(feature = "pull")]
type OnPull<'a> = Box<dyn FnMut(PullEvent<'_>) + 'a>;

/// Options for opening a model: [`Model::builder`].
pub struct ModelBuilder<'a> {
    model: String,
    device: Option<Device>,
    options: DeviceOptions,
    load: LoadOptions,
    on_load: Box<dyn FnMut(LoadProgress) + 'a>,
    #[cfg(feature = "pull")]
    on_pull: Option<OnPull<'a>>,
}

impl fmt::Debug for ModelBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelBuilder").field("model", &self.model).finish_non_exhaustive()
    }
}

impl<'a> ModelBuilder<'a> {
    /// Opens the model on the GPU with this index, or with this text in its name.
    #[must_use]
    pub fn gpu(mut self, gpu: impl Into<String>) -> Self {
        self.options.adapter = Some(gpu.into());
        self
    }

    /// Opens the device with these options.
    #[must_use]
    pub fn device_options(mut self, options: DeviceOptions) -> Self {
        self.options = options;
        self
    }

    /// Loads the model onto a device that is open already.
    #[must_use]
    pub fn device(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// Keeps the weights of a safetensors model in this format: [`LoadOptions::quant`].
    #[must_use]
    pub fn quant(mut self, quant: Quant) -> Self {
        self.load.quant = Some(quant);
        self
    }

    /// Downloads the model if it is not in the cache: [`pull`].
    #[cfg(feature = "pull")]
    #[must_use]
    pub fn pull(self) -> Self {
        self.on_pull(|_| {})
    }

    /// The same, and reports the progress of the download: at each twentieth of a file's bytes.
    ///
    /// ```no_run
    /// let model = parr::Model::builder("smollm2").on_pull(|event| eprintln!("{event}")).open()?;
    /// # Ok::<(), parr::Error>(())
    /// ```
    #[cfg(feature = "pull")]
    #[must_use]
    pub fn on_pull(mut self, on_pull: impl FnMut(PullEvent<'_>) + 'a) -> Self {
        self.on_pull = Some(Box::new(on_pull));
        self
    }

    /// Reports the progress of loading the weights.
    #[must_use]
    pub fn on_load(mut self, on_load: impl FnMut(LoadProgress) + 'a) -> Self {
        self.on_load = Box::new(on_load);
        self
    }

    /// Opens the model.
    ///
    /// # Errors
    ///
    /// As [`Model::open`], and the errors of [`pull`](fn@crate::hub::pull) if the model is downloaded.
    pub fn open(mut self) -> Result<Model, Error> {
        #[cfg(feature = "pull")]
        if let (Some(on_pull), Some(spec)) = (&mut self.on_pull, ModelSpec::parse(&self.model))
            && crate::hub::resolve(&self.model).is_err()
        {
            let mut last = None;
            pull(&spec, &PullOptions::from_env()?, &mut |event| {
                let part = match event {
                    PullEvent::Bytes { done_bytes, total_bytes: Some(total), .. } if total > 0 => {
                        Some(done_bytes.saturating_mul(20) / total)
                    }
                    _ => None,
                };
                if part.is_none() || part != last {
                    on_pull(event);
                }
                last = part;
            })?;
        }
        // Names are resolved first: a name without a model should not wait for a driver.
        let path = crate::hub::resolve(&self.model)?;
        let device = match self.device {
            Some(device) => device,
            None => Device::open(&self.options)?,
        };
        Model::load(&device, &path, &self.load, &mut self.on_load)
    }
}
