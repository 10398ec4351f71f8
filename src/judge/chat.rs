//! The model as an assistant: how it is told a principle, and what it is called.

use super::JudgeError;
use crate::generate::{Generator, GeneratorOptions};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::tokenizer::{ChatFormat, Message, TextError, TokenId};

/// A model that replies and judges, by itself or under an adapter, such as one of supervised training.
#[derive(Clone, Copy, Debug)]
pub struct AdaptedModel<'a> {
    /// The model.
    pub model: &'a Model,
    /// The adapter on it, and the bank that has it.
    pub adapter: Option<(&'a AdapterBank, AdapterId)>,
}

/// What the system message says that asks for replies under a principle, or under its negative.
pub fn system_message(principle: &str) -> String {
    format!("You are a helpful assistant. Follow this principle in every reply: {principle}")
}

impl<'a> AdaptedModel<'a> {
    /// The model by itself.
    pub fn base(model: &'a Model) -> AdaptedModel<'a> {
        AdaptedModel { model, adapter: None }
    }

    /// What records call it: the base's [`Model::content_hash`], and behind a `+` the adapter's
    /// [`LoraWeights::sha256`](crate::model::lora::LoraWeights::sha256); `random` for a base that comes from no file.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::Load`] if the base cannot be read again;
    /// * [`JudgeError::Adapter`] if the adapter cannot.
    pub fn name(&self) -> Result<String, JudgeError> {
        let base = self.model.content_hash()?.unwrap_or("random").to_owned();
        let Some((bank, adapter)) = self.adapter else { return Ok(base) };
        let (weights, head) = bank.read(adapter)?;
        Ok(format!("{base}+{}", weights.sha256(head.as_ref())))
    }

    /// The model's way of writing a conversation.
    ///
    /// # Errors
    ///
    /// [`JudgeError::NoChat`] if it has none.
    pub fn chat(&self) -> Result<&'a ChatFormat, JudgeError> {
        self.model.chat_format().ok_or(JudgeError::NoChat)
    }

    /// The id of the adapter, for requests.
    pub(super) fn adapter_id(&self) -> Option<AdapterId> {
        self.adapter.map(|(_, id)| id)
    }

    pub(super) fn generator(&self, options: GeneratorOptions) -> Result<Generator, JudgeError> {
        Ok(match self.adapter {
            Some((bank, _)) => Generator::with_adapters(self.model, options, bank)?,
            None => Generator::new(self.model, options)?,
        })
    }
}

/// The ids of a conversation up to where the reply to `prompt` begins, `principle` in the system message.
pub(super) fn encode(
    chat: &ChatFormat,
    principle: Option<&str>,
    prompt: &str,
) -> Result<Vec<TokenId>, JudgeError> {
    let system = principle.map(|text| Message::new("system", system_message(text)));
    let messages: Vec<Message> = system.into_iter().chain([Message::new("user", prompt)]).collect();
    chat.encode_chat(&messages, true).map_err(|source| match source {
        TextError::TemplateRefused { .. } if principle.is_some() => {
            JudgeError::Template { what: "a system message, which tells the model its principle", source }
        }
        source => JudgeError::Text(source),
    })
}
