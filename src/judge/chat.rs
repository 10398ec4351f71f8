//! The model that replies and judges: its prompt with a principle, and its name in the records.

use super::JudgeError;
use crate::generate::{Generator, GeneratorOptions};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::tokenizer::{ChatFormat, Message, TextError, TokenId};

/// A base that replies and judges, with an adapter or without one.
#[derive(Clone, Copy, Debug)]
pub struct AdaptedModel<'a> {
    /// The base.
    pub model: &'a Model,
    /// The adapter, with the bank that holds it.
    pub adapter: Option<(&'a AdapterBank, AdapterId)>,
}

impl<'a> From<&'a Model> for AdaptedModel<'a> {
    fn from(model: &'a Model) -> AdaptedModel<'a> {
        AdaptedModel::base(model)
    }
}

/// The system message that asks for replies under a principle, or under its negative.
pub fn system_message(principle: &str) -> String {
    format!("You are a helpful assistant. Follow this principle in every reply: {principle}")
}

impl<'a> AdaptedModel<'a> {
    /// The base without an adapter.
    pub fn base(model: &'a Model) -> AdaptedModel<'a> {
        AdaptedModel { model, adapter: None }
    }

    /// Name in the records: the base's [`Checkpoint::content_hash`](crate::format::Checkpoint::content_hash),
    /// then a `+` and the SHA-256 of the adapter's factors. A base that was not loaded from a file is called
    /// `random`.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::Load`] if the base's file can no longer be read;
    /// * [`JudgeError::Adapter`] if the adapter is not in its bank.
    pub fn name(&self) -> Result<String, JudgeError> {
        let base = self.model.content_hash()?.unwrap_or("random").to_owned();
        let Some((bank, adapter)) = self.adapter else { return Ok(base) };
        let (weights, head) = bank.read(adapter)?;
        Ok(format!("{base}+{}", weights.sha256(head.as_ref())))
    }

    /// The model's chat format.
    ///
    /// # Errors
    ///
    /// [`JudgeError::NoChat`] if it has none, [`JudgeError::Text`] if it cannot be used.
    pub fn chat(&self) -> Result<&'a ChatFormat, JudgeError> {
        self.model.check_chat()?;
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

/// The tokens of a conversation up to the start of the reply to `prompt`, with `principle` in the system
/// message.
pub(super) fn encode(
    chat: &ChatFormat,
    principle: Option<&str>,
    prompt: &str,
) -> Result<Vec<TokenId>, JudgeError> {
    let system = principle.map(|text| Message::new("system", system_message(text)));
    let messages: Vec<Message> = system.into_iter().chain([Message::new("user", prompt)]).collect();
    chat.encode_chat(&messages, true).map_err(|source| match source {
        TextError::TemplateRefused { .. } if principle.is_some() => {
            JudgeError::Template { what: "a system message, which holds the principle", source }
        }
        source => JudgeError::Text(source),
    })
}
