//! LoRA adapters: opened, blended, exported, and placed on the device for whoever answers with them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use parr::adapter::Card;
use parr::model::lora::{AdapterBank, AdapterId, LoraWeights};
use parr::quant::Quant;

use crate::ParrError;
use crate::call::{lock, serial, start};
use crate::model::{Loaded, Model};

/// An adapter for one model. It takes device memory while a session answers with it.
#[derive(Debug, uniffi::Object)]
pub struct Adapter {
    model: Arc<Model>,
    pub(crate) adapter: parr::adapter::Adapter,
    /// What tells it from others.
    pub(crate) serial: u64,
    placed: Mutex<Option<Placed>>,
}

#[derive(Clone, Debug)]
struct Placed {
    opened: u64,
    bank: AdapterBank,
    id: AdapterId,
}

/// What is known of an adapter.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct AdapterInfo {
    /// Rank of its factors.
    pub rank: u32,
    /// What its change is multiplied by.
    pub scale: f32,
    /// The projections that it changes, such as `q,k,v`.
    pub targets: String,
    /// Values of its factors.
    pub parameters: u64,
    /// Whether it has a scalar head: whether it is a reward model.
    pub reward: bool,
    /// The base that it was trained on, where it says.
    pub base: Option<String>,
    /// Optimizer steps of its training, where it says.
    pub steps: Option<u64>,
}

/// An adapter, and how much of it goes into a blend.
#[derive(Clone, Debug, uniffi::Record)]
pub struct AdapterShare {
    /// The adapter.
    pub adapter: Arc<Adapter>,
    /// What its change is multiplied by; may be negative.
    pub weight: f32,
}

#[uniffi::export]
impl Model {
    /// Opens an adapter for this model: a PEFT directory, the folder of a training run, or a GGUF adapter.
    /// `any_base` takes one that was trained on another copy of the weights, an unquantized one say.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`] and [`ParrError::Format`] if there is none, or a damaged one;
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

/// One adapter that changes every matrix by the weighted sum of the others' changes, exactly. Its rank is the
/// sum of theirs, and its cost with it.
///
/// # Errors
///
/// * [`ParrError::Argument`] without parts, for a weight that is no number, or if the ranks add up to more
///   than 1024;
/// * [`ParrError::Mismatch`] if the parts are for different models, or one is a reward model.
#[uniffi::export]
pub fn blend_adapters(parts: Vec<AdapterShare>) -> Result<Arc<Adapter>, ParrError> {
    if parts.iter().any(|part| part.adapter.adapter.head.is_some()) {
        return Err(ParrError::Mismatch("a reward model has a scalar head and cannot be blended".to_owned()));
    }
    let weights: Vec<(&LoraWeights, f32)> =
        parts.iter().map(|part| (&part.adapter.adapter.weights, part.weight)).collect();
    let weights = LoraWeights::blend(&weights)?;
    let first = &parts[0].adapter;
    let base = |card: &Card| card.base_sha256.clone();
    let same = parts.iter().all(|part| base(&part.adapter.adapter.card) == base(&first.adapter.card));
    let card = match same {
        true => Card {
            base: first.adapter.card.base.clone(),
            base_sha256: base(&first.adapter.card),
            ..Card::default()
        },
        false => Card::default(),
    };
    let adapter = parr::adapter::Adapter { weights, head: None, card };
    Ok(Adapter::new(Arc::clone(&first.model), adapter))
}

#[uniffi::export]
impl Adapter {
    /// What is known of it.
    pub fn info(&self) -> AdapterInfo {
        let parr::adapter::Adapter { weights, head, card } = &self.adapter;
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

    /// Writes it as a PEFT directory, which appears whole or not at all; `half` stores f16.
    ///
    /// # Errors
    ///
    /// [`ParrError::Storage`] if something else stands there, or the disk says no.
    #[uniffi::method(default(half = false))]
    pub async fn export_peft(self: Arc<Self>, folder: String, half: bool) -> Result<(), ParrError> {
        let quant = if half { Quant::F16 } else { Quant::F32 };
        start(None, move |_| Ok(self.adapter.write_peft_as(Path::new(&folder), quant)?)).await
    }

    /// Writes it as a GGUF file for llama.cpp; `half` stores f16.
    ///
    /// # Errors
    ///
    /// * [`ParrError::Argument`] for a reward model, whose head the format cannot hold;
    /// * [`ParrError::Storage`] if the disk says no.
    #[uniffi::method(default(half = false))]
    pub async fn export_gguf(self: Arc<Self>, file: String, half: bool) -> Result<(), ParrError> {
        let quant = if half { Quant::F16 } else { Quant::F32 };
        start(None, move |_| {
            let loaded = self.model.loaded()?;
            Ok(self.adapter.write_gguf(Path::new(&file), loaded.model.config(), quant)?)
        })
        .await
    }
}

impl Adapter {
    fn new(model: Arc<Model>, adapter: parr::adapter::Adapter) -> Arc<Adapter> {
        Arc::new(Adapter { model, adapter, serial: serial(), placed: Mutex::default() })
    }

    /// `Ok` if it was opened for `model`.
    pub(crate) fn belongs_to(&self, model: &Arc<Model>) -> Result<(), ParrError> {
        if Arc::ptr_eq(&self.model, model) {
            return Ok(());
        }
        Err(ParrError::Mismatch("the adapter was opened for another model: open it for this one".to_owned()))
    }

    /// Where it is on the device; all sessions that answer with it share the place.
    pub(crate) fn place(&self, loaded: &Loaded) -> Result<(AdapterBank, AdapterId), ParrError> {
        let mut placed = lock(&self.placed);
        if let Some(Placed { opened, bank, id }) = &*placed
            && *opened == loaded.opened
        {
            return Ok((bank.clone(), *id));
        }
        let (bank, ids) = AdapterBank::holding(&loaded.model, &[&self.adapter.weights])?;
        *placed = Some(Placed { opened: loaded.opened, bank: bank.clone(), id: ids[0] });
        Ok((bank, ids[0]))
    }
}
