//! Adapters that several sessions share on the device.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::ChatError;
use crate::adapter::Adapter;
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId};

/// An adapter for chats. Clones are the same adapter, and sessions on one model share its device memory.
#[derive(Clone, Debug)]
pub struct ChatAdapter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    adapter: Adapter,
    placed: Mutex<Option<Placed>>,
}

#[derive(Clone, Debug)]
struct Placed {
    model: Model,
    bank: AdapterBank,
    id: AdapterId,
    /// Generation of the device that holds the bank.
    generation: u32,
}

impl Placed {
    /// Whether the adapter is on the device beside the weights of `model`, and was not lost with it.
    fn is_on(&self, model: &Model) -> bool {
        self.model.is(model) && self.generation == model.device().generation()
    }
}

impl ChatAdapter {
    /// Opens the adapter at `path`: a PEFT directory, the folder of a training run, or a GGUF adapter.
    /// `any_base` also accepts one that was trained on other weights, such as an unquantized copy of the
    /// model.
    ///
    /// # Errors
    ///
    /// [`ChatError::AdapterFile`] if it cannot be read, or does not fit the model; [`ChatError::Adapter`] if it is a
    /// reward model.
    pub fn open(model: &Model, path: &Path, any_base: bool) -> Result<ChatAdapter, ChatError> {
        let adapter = Adapter::open_on(model, path, any_base)?;
        adapter.check_speaks()?;
        Ok(ChatAdapter::new(adapter))
    }

    /// An adapter that is in memory already.
    pub fn new(adapter: Adapter) -> ChatAdapter {
        ChatAdapter { inner: Arc::new(Inner { adapter, placed: Mutex::default() }) }
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.inner.adapter
    }

    /// Whether both are the same adapter.
    pub(super) fn is(&self, other: &ChatAdapter) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The adapter's bank and place on the device, made at the first call for a model.
    pub(super) fn place(&self, model: &Model) -> Result<(AdapterBank, AdapterId), ChatError> {
        let mut placed = self.inner.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Placed { bank, id, .. }) = placed.as_ref().filter(|placed| placed.is_on(model)) {
            return Ok((bank.clone(), *id));
        }
        self.inner.adapter.check_speaks()?;
        let generation = model.device().generation();
        let (bank, ids) = AdapterBank::holding(model, &[&self.inner.adapter.weights])?;
        *placed = Some(Placed { model: model.clone(), bank: bank.clone(), id: ids[0], generation });
        Ok((bank, ids[0]))
    }
}
