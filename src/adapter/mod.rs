//! LoRA adapters on disk: reading and writing PEFT directories and llama.cpp's GGUF files, and merging
//! into a model.
//!
//! [`Adapter::open`] reads either kind and checks it against its model. Files are untrusted, as in
//! [`format`](crate::format). Only plain LoRA of the decoder's projections is supported. Other
//! methods (DoRA, trained biases, whole modules) are refused, and the error names them.

mod card;
mod error;
mod gguf;
mod head;
mod merge;
mod peft;
mod stored;

use std::path::{Path, PathBuf};

pub use card::{Card, check_base};
pub use error::AdapterFileError;
pub use head::FILE as HEAD_FILE;
pub use merge::{MergeOptions, MergeProgress, merge};

use crate::model::lora::{AdapterError, LoraConfig, LoraWeights, ScalarHead};
use crate::model::{Model, ModelConfig};
use crate::quant::Quant;
use stored::{Stored, check_finite};

/// An adapter with its head and its card.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The factors.
    pub weights: LoraWeights,
    /// The scalar head of a reward model.
    pub head: Option<ScalarHead>,
    /// Facts about its origin.
    pub card: Card,
}

/// The folder of the adapter in a training run's folder.
pub const RUN_FOLDER: &str = "adapter";

/// The two kinds of adapter files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterFormat {
    /// A directory in the format of Hugging Face's PEFT.
    Peft,
    /// A GGUF file in llama.cpp's format.
    Gguf,
}

impl AdapterFormat {
    /// `peft` or `gguf`.
    pub fn name(self) -> &'static str {
        match self {
            AdapterFormat::Peft => "peft",
            AdapterFormat::Gguf => "gguf",
        }
    }
}

/// A summary of an adapter's headers; needs no model and does not read the factors.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The kind of file.
    pub format: AdapterFormat,
    /// Rank, scale and projections as [`Adapter::open`] gives them: pairs of a smaller rank are padded.
    pub config: LoraConfig,
    /// Number of layers up to the last one with factors.
    pub layers: usize,
    /// Number of matrices with factors.
    pub pairs: usize,
    /// Number of values of all factors in the file.
    pub parameters: usize,
    /// Whether there is a scalar head.
    pub head: bool,
    /// Facts about its origin.
    pub card: Card,
}

impl Adapter {
    /// Reads an adapter for a model of shape `model`: a PEFT directory (`adapter_config.json`,
    /// `adapter_model.safetensors`, and optionally `reward_head.safetensors` and `parr.json`), the folder
    /// of a training run that holds one ([`RUN_FOLDER`]), or a GGUF adapter.
    ///
    /// Ranks and scales that differ by projection are unified: factors are padded with zeros to the
    /// largest rank, and B is multiplied by the ratio of the scales.
    ///
    /// # Errors
    ///
    /// * [`AdapterFileError::NotAnAdapter`] if there is no adapter at `path`.
    /// * [`AdapterFileError::Load`] if a file cannot be read, breaks its format, lacks a factor, or needs a
    ///   computation that this library does not support.
    /// * [`AdapterFileError::Fit`] and [`AdapterFileError::Shape`] if it was made for another model.
    /// * [`AdapterFileError::Value`] if a value is infinite or NaN.
    pub fn open(path: &Path, model: &ModelConfig) -> Result<Adapter, AdapterFileError> {
        let stored = Adapter::stored(path)?;
        let weights = stored.fit(model)?;
        Ok(Adapter { weights, head: stored.head, card: stored.card })
    }

    /// [`Adapter::open`] for a loaded model, followed by [`check_base`] on the model's files. If `any_base`
    /// is true, adapters of other weights are accepted too. A model that was not loaded from a file is not
    /// checked.
    ///
    /// # Errors
    ///
    /// Those of [`Adapter::open`] and [`check_base`].
    pub fn open_on(model: &Model, path: &Path, any_base: bool) -> Result<Adapter, AdapterFileError> {
        let adapter = Adapter::open(path, model.config())?;
        let wanted = adapter.card.base_sha256.is_some() && !any_base;
        if let Some(path) = model.path().filter(|_| wanted)
            && let Some(hash) = model.content_hash()?
        {
            card::check_hash(&adapter.card, path, hash)?;
        }
        Ok(adapter)
    }

    /// `Ok` if a model with this adapter gives replies: it is no reward model, whose scalar head gives scores.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Scores`] for a reward model.
    pub fn check_speaks(&self) -> Result<(), AdapterError> {
        if self.head.is_some() { Err(AdapterError::Scores) } else { Ok(()) }
    }

    /// Reads the headers of the adapter at `path`; no model is needed.
    ///
    /// # Errors
    ///
    /// Those of [`Adapter::open`] that need no model.
    pub fn inspect(path: &Path) -> Result<Summary, AdapterFileError> {
        Ok(Adapter::stored(path)?.summary())
    }

    /// The files of the adapter at `path`, which [`Adapter::open`] reads. For a PEFT directory, only existing
    /// files are listed.
    ///
    /// # Errors
    ///
    /// As [`Adapter::inspect`].
    pub fn files(path: &Path) -> Result<Vec<PathBuf>, AdapterFileError> {
        Adapter::inspect(path)?;
        Ok(if path.is_dir() { peft::files(&peft_folder(path)) } else { vec![path.to_owned()] })
    }

    fn stored(path: &Path) -> Result<Stored, AdapterFileError> {
        if path.is_dir() { peft::read(&peft_folder(path)) } else { gguf::read(path) }
    }

    /// [`LoraWeights::sha256`] of the factors with the head. The card does not affect the hash.
    pub fn sha256(&self) -> String {
        self.weights.sha256(self.head.as_ref())
    }

    /// Writes the adapter as a PEFT directory, all in f32. The directory appears complete or not at all. An
    /// older adapter at `folder` is replaced.
    ///
    /// # Errors
    ///
    /// * [`AdapterFileError::Occupied`] if something else is there: a file, or a directory with a file that
    ///   adapters written here do not have.
    /// * [`AdapterFileError::Value`] if a value is infinite or NaN.
    /// * [`AdapterFileError::Unwritable`] if the factors do not have whole rows.
    /// * [`AdapterFileError::Io`] if writing fails.
    pub fn write_peft(&self, folder: &Path) -> Result<(), AdapterFileError> {
        peft::write(self, folder, Quant::F32)
    }

    /// The same with factors in `quant`, f32 or f16. With f16, the size is halved and each value has three
    /// digits. A scalar head stays f32.
    ///
    /// # Errors
    ///
    /// As [`Adapter::write_peft`]; [`AdapterFileError::Value`] also for a value that is infinite in f16, and
    /// [`AdapterFileError::Unwritable`] for another `quant`.
    pub fn write_peft_as(&self, folder: &Path, quant: Quant) -> Result<(), AdapterFileError> {
        peft::write(self, folder, quant)
    }

    /// Writes `card` to the adapter at `folder`, a PEFT directory or the folder of a training run, in place of the card
    /// that is there.
    ///
    /// # Errors
    ///
    /// * [`AdapterFileError::NotAnAdapter`] if there is no PEFT directory with a card.
    /// * [`AdapterFileError::Io`] if writing fails.
    pub fn write_card(folder: &Path, card: &Card) -> Result<(), AdapterFileError> {
        peft::write_card(&peft_folder(folder), card)
    }

    /// Writes the adapter, made for a model of shape `model`, as a GGUF file for llama.cpp, with factors
    /// in `quant`: f32 or f16. An older file at `path` is replaced.
    ///
    /// # Errors
    ///
    /// * [`AdapterFileError::Unwritable`] for another `quant`, a scalar head, or a scale of 0.
    /// * [`AdapterFileError::Fit`] if it was made for another model.
    /// * [`AdapterFileError::Value`] if a value is infinite or NaN, also in f16.
    /// * [`AdapterFileError::Io`] if writing fails.
    pub fn write_gguf(&self, path: &Path, model: &ModelConfig, quant: Quant) -> Result<(), AdapterFileError> {
        gguf::write(self, path, model, quant)
    }

    /// `Ok` if the adapter fits `model` and all its values are finite; `path` is for messages.
    fn check(&self, path: &Path, model: &ModelConfig) -> Result<(), AdapterFileError> {
        let unfit = |reason| AdapterFileError::Fit { path: path.to_owned(), reason };
        self.weights.check(model).map_err(unfit)?;
        match &self.head {
            Some(head) if head.weight.len() != model.hidden => {
                Err(unfit(AdapterError::Head { found: head.weight.len(), expected: model.hidden }))
            }
            _ => self.check_values(path),
        }
    }

    /// `Ok` if all factors have whole rows and finite values; `path` is for messages.
    fn check_values(&self, path: &Path) -> Result<(), AdapterFileError> {
        let rank = self.weights.config.rank;
        for (layer, pairs) in self.weights.layers.iter().enumerate() {
            for (&projection, pair) in pairs {
                let module = stored::module(self.weights.names, layer, projection);
                for (factor, values) in [("lora_A", &pair.a), ("lora_B", &pair.b)] {
                    if values.is_empty() || rank == 0 || !values.len().is_multiple_of(rank) {
                        let what =
                            format!("{factor} of {module} has {} values, the rank is {rank}", values.len());
                        return Err(AdapterFileError::unwritable(path, what, "correct the factors"));
                    }
                    for (index, value) in values.iter().enumerate() {
                        check_finite(path, &format!("{module}.{factor}"), index, *value)?;
                    }
                }
            }
        }
        let head = self.head.iter().flat_map(|head| head.weight.iter().chain([&head.bias]));
        head.enumerate().try_for_each(|(index, value)| check_finite(path, "scalar head", index, *value))
    }
}

/// The PEFT directory at `path`, which may be the folder of a training run.
fn peft_folder(path: &Path) -> PathBuf {
    let of_run = path.join(RUN_FOLDER);
    let is_run = !path.join(peft::CONFIG).exists() && of_run.is_dir();
    if is_run { of_run } else { path.to_owned() }
}
