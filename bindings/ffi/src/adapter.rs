//! LoRA adapters: opened, blended, exported, and placed on the device for the sessions that use them.

use std::path::Path;
use std::sync::Arc;

use parr::adapter::Card;
use parr::chat::ChatAdapter;
use parr::model::lora::LoraWeights;
use parr::quant::Quant;

use crate::ParrError;
use crate::call::{serial, start};
use crate::model::Model;

/// An adapter for one model. It uses device memory while a session answers with it.
#[derive(Debug, uniffi::Object)]
pub struct Adapter {
    model: Arc<Model>,
    /// The adapter. Sessions that answer with it share its device memory.
    pub(crate) shared: ChatAdapter,
    /// Identifies the adapter in this process.
    pub(crate) serial: u64,
}

/// Properties of an adapter.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct AdapterInfo {
    /// Rank of the factors.
    pub rank: u32,
    /// Factor that scales the adapter's change.
    pub scale: f32,
    /// The projections that the adapter changes, such as `q,k,v`.
    pub targets: String,
    /// Number of values in the factors.
    pub parameters: u64,
    /// Whether the adapter has a scalar head, that is, whether it is a reward model.
    pub reward: bool,
    /// The base model that it was trained on, if recorded.
    pub base: Option<String>,
    /// Number of optimizer steps of its training, if recorded.
    pub steps: Option<u64>,
}

/// An adapter and its weight in a blend.
#[derive(Clone, Debug, uniffi::Record)]
pub struct AdapterShare {
    /// The adapter.
    pub adapter: Arc<Adapter>,
    /// Factor for the adapter's change. May be negative.
    pub weight: f32,
}

#[uniffi::export]
impl Model {
    /// Opens an adapter for this model: a PEFT directory, the folder of a training run, or a GGUF adapter.
    /// `any_base` also accepts an adapter that was trained on another copy of the weights, such as an
    /// unquantized one.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`] if there is no adapter, and [`ParrError::Format`] if it is damaged;
    /// * [`ParrError::Mismatch`] if it was made for another model.
    #[uniffi::method(default(any_base = false))]
    pub async fn open_adapter(
        self: Arc<Self>,
        path: String,
        any_base: bool,
    ) -> Result<Arc<Adapter>, ParrError> {
        start(None, move |_| {
            let adapter = parr::adapter::Adapter::open_on(&self.loaded()?.model, Path::new(&path), any_base)?;
            Ok(Adapter::new(self, adapter))
        })
        .await
    }
}

/// Returns one adapter that changes every matrix by exactly the weighted sum of the parts' changes. Its
/// rank is the sum of the parts' ranks, and its cost grows with the rank.
///
/// # Errors
///
/// * [`ParrError::Argument`] if there are no parts, a weight is not a number, or the ranks add up to more
///   than 1024;
/// * [`ParrError::Mismatch`] if the parts are for different models, or one is a reward model.
#[uniffi::export]
pub fn blend_adapters(parts: Vec<AdapterShare>) -> Result<Arc<Adapter>, ParrError> {
    if parts.iter().any(|part| part.adapter.adapter().head.is_some()) {
        return Err(ParrError::Mismatch("a reward model has a scalar head and cannot be blended".to_owned()));
    }
    let weights: Vec<(&LoraWeights, f32)> =
        parts.iter().map(|part| (&part.adapter.adapter().weights, part.weight)).collect();
    let weights = LoraWeights::blend(&weights)?;
    let first = &parts[0].adapter;
    let base = |card: &Card| card.base_sha256.clone();
    let same = parts.iter().all(|part| base(&part.adapter.adapter().card) == base(&first.adapter().card));
    let card = if same {
        Card {
            base: first.adapter().card.base.clone(),
            base_sha256: base(&first.adapter().card),
            ..Card::default()
        }
    } else {
        Card::default()
    };
    let adapter = parr::adapter::Adapter { weights, head: None, card };
    Ok(Adapter::new(Arc::clone(&first.model), adapter))
}

#[uniffi::export]
impl Adapter {
    /// Returns the adapter's properties.
    pub fn info(&self) -> AdapterInfo {
        let parr::adapter::Adapter { weights, head, card } = self.adapter();
        AdapterInfo {
            rank: weights.config.rank as u32,
            scale: weights.config.scale(),
            targets: weights.config.targets.to_string(),
            parameters: weights.parameters() as u64,
            reward: head.is_some(),
            base: card.base.clone(),
            steps: card.steps,
        }
    }

    /// Writes the adapter as a PEFT directory, completely or not at all. `half` stores f16.
    ///
    /// # Errors
    ///
    /// [`ParrError::Storage`] if something else exists at this path, or the disk reports an error.
    #[uniffi::method(default(half = false))]
    pub async fn export_peft(self: Arc<Self>, folder: String, half: bool) -> Result<(), ParrError> {
        let quant = if half { Quant::F16 } else { Quant::F32 };
        start(None, move |_| Ok(self.adapter().write_peft_as(Path::new(&folder), quant)?)).await
    }

    /// Writes the adapter as a GGUF file for llama.cpp. `half` stores f16.
    ///
    /// # Errors
    ///
    /// * [`ParrError::Argument`] for a reward model, because the format cannot store its head;
    /// * [`ParrError::Storage`] if the disk reports an error.
    #[uniffi::method(default(half = false))]
    pub async fn export_gguf(self: Arc<Self>, file: String, half: bool) -> Result<(), ParrError> {
        let quant = if half { Quant::F16 } else { Quant::F32 };
        start(None, move |_| {
            let loaded = self.model.loaded()?;
            Ok(self.adapter().write_gguf(Path::new(&file), loaded.model.config(), quant)?)
        })
        .await
    }
}

impl Adapter {
    fn new(model: Arc<Model>, adapter: parr::adapter::Adapter) -> Arc<Adapter> {
        Arc::new(Adapter { model, shared: ChatAdapter::new(adapter), serial: serial() })
    }

    /// The core's adapter.
    pub(crate) fn adapter(&self) -> &parr::adapter::Adapter {
        self.shared.adapter()
    }

    /// `Ok` if it was opened for `model`.
    pub(crate) fn belongs_to(&self, model: &Arc<Model>) -> Result<(), ParrError> {
        if Arc::ptr_eq(&self.model, model) {
            return Ok(());
        }
        Err(ParrError::Mismatch("the adapter was opened for another model: open it for this one".to_owned()))
    }
}
