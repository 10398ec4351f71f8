//! Many prompts at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parr::generate::{Generator, GeneratorOptions};
use parr::model::lora::{AdapterBank, LoraWeights};
use parr::tokenizer::Message;

use crate::ParrError;
use crate::adapter::Adapter;
use crate::call::{CancelToken, start};
use crate::model::Model;
use crate::reply::{ChatMessage, Reply, ReplyOptions};

/// A conversation to continue.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Prompt {
    /// Messages so far. The model answers next.
    pub messages: Vec<ChatMessage>,
    /// Options for the reply. Each prompt has its own seed.
    #[uniffi(default = None)]
    pub options: Option<ReplyOptions>,
    /// The adapter to answer with. Without it the plain model answers.
    #[uniffi(default = None)]
    pub adapter: Option<Arc<Adapter>>,
}

#[uniffi::export]
impl Model {
    /// Generates one reply to each prompt, in order, with up to `slots` prompts in parallel. A reply
    /// depends on its own prompt and seed, not on the rest of the batch.
    ///
    /// # Errors
    ///
    /// * [`ParrError::Context`] and [`ParrError::Argument`] before anything runs, with the number of the
    ///   prompt;
    /// * [`ParrError::Mismatch`] for an adapter of another model;
    /// * [`ParrError::Memory`] if the caches exceed the budget: use fewer slots.
    #[uniffi::method(default(slots = 8, context = None, cancel = None))]
    pub async fn generate(
        self: Arc<Self>,
        prompts: Vec<Prompt>,
        slots: u32,
        context: Option<u32>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Vec<Reply>, ParrError> {
        start(cancel.as_deref(), move |token| {
            let loaded = self.loaded()?;
            let chat = loaded.chat()?;
            let mut adapters: BTreeMap<u64, &LoraWeights> = BTreeMap::new();
            for adapter in prompts.iter().filter_map(|prompt| prompt.adapter.as_ref()) {
                adapter.belongs_to(&self)?;
                adapters.insert(adapter.serial, &adapter.adapter().weights);
            }
            let weights: Vec<&LoraWeights> = adapters.values().copied().collect();
            let placed = match weights[..] {
                [] => None,
                _ => Some(AdapterBank::holding(&loaded.model, &weights)?),
            };
            let places: BTreeMap<u64, _> = adapters
                .keys()
                .copied()
                .zip(placed.iter().flat_map(|(_, ids)| ids.iter().copied()))
                .collect();
            let request = |prompt: &Prompt| {
                let messages: Vec<Message> = prompt.messages.iter().cloned().map(Into::into).collect();
                let ids = chat.encode_chat(&messages, true)?;
                let adapter = prompt.adapter.as_ref().map(|adapter| places[&adapter.serial]);
                Ok(prompt.options.clone().unwrap_or_default().request(ids, adapter))
            };
            let requests = prompts.iter().map(request).collect::<Result<Vec<_>, ParrError>>()?;
            let slots = requests.len().clamp(1, slots.max(1) as usize);
            let bank = placed.as_ref().map(|(bank, _)| bank);
            let options = GeneratorOptions {
                slots,
                context: self.context(&loaded, context)?,
                ..GeneratorOptions::default()
            };
            let bytes = Generator::plan_bytes(&loaded.model, options, bank);
            self.room(&loaded, "cache and activations", bytes)?;
            let mut generator = match bank {
                Some(bank) => Generator::with_adapters(&loaded.model, options, bank)?,
                None => Generator::new(&loaded.model, options)?,
            };
            let replies = generator.generate(&requests, token, &mut |_| {})?;
            Ok(replies.iter().map(|reply| Reply::new(reply, 0)).collect())
        })
        .await
    }
}
