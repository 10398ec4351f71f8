//! What a generator refuses before anything runs.

use super::error::GenerateError;
use super::generator::Generator;
use super::request::Request;
use crate::model::lora::{AdapterError, AdapterId};
use crate::tokenizer::TokenId;

impl Generator {
    /// `Ok` if the generator can run `request`.
    pub(super) fn check_request(&self, index: usize, request: &Request) -> Result<(), GenerateError> {
        self.check_prompt(index, &request.prompt, 1)?;
        self.check_adapter(index, request.adapter)?;
        request.sampling.check(index)?;
        match request.logits.fault() {
            Some((setting, value, expected)) => {
                Err(GenerateError::Setting { request: index, setting, value, expected })
            }
            None => Ok(()),
        }
    }

    /// `Ok` if `prompt` and `more` further tokens fit, and every id is known.
    pub(super) fn check_prompt(
        &self,
        request: usize,
        prompt: &[TokenId],
        more: usize,
    ) -> Result<(), GenerateError> {
        let vocab = self.model.config().vocab;
        let capacity = self.context();
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt { request });
        }
        if prompt.len() + more > capacity {
            return Err(GenerateError::ContextOverflow { request, needed: prompt.len() + more, capacity });
        }
        match prompt.iter().position(|&id| id as usize >= vocab) {
            Some(place) => Err(GenerateError::UnknownToken { request, place, id: prompt[place], vocab }),
            None => Ok(()),
        }
    }

    /// `Ok` if the adapter is in the bank.
    pub(super) fn check_adapter(
        &self,
        request: usize,
        adapter: Option<AdapterId>,
    ) -> Result<(), GenerateError> {
        let Some(id) = adapter else { return Ok(()) };
        let bank = self.bank.as_ref().ok_or(AdapterError::Detached);
        match bank.and_then(|bank| bank.config(id)) {
            Ok(_) => Ok(()),
            Err(source) => Err(GenerateError::Adapter { request, source }),
        }
    }

    /// `Ok` if the adapter is in the bank and has a scalar head.
    pub(super) fn check_head(&self, request: usize, adapter: AdapterId) -> Result<(), GenerateError> {
        self.check_adapter(request, Some(adapter))?;
        let has_head = self.bank.as_ref().map(|bank| bank.has_head(adapter));
        match has_head {
            Some(Ok(true)) => Ok(()),
            _ => Err(GenerateError::Adapter { request, source: AdapterError::NoHead }),
        }
    }
}
