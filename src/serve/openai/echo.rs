//! Log-probabilities of prompts, for programs that score texts through `echo`.

use std::sync::{Mutex, PoisonError};

use super::errors::ApiError;
use super::logprobs::Scored;
use crate::generate::{CancelToken, GenerateError, Generator, GeneratorOptions};
use crate::model::Model;
use crate::ops::KvFormat;
use crate::serve::adapters::Adapters;
use crate::tokenizer::TokenId;

/// A generator of one slot that only reads prompts. It is made when it is first needed.
pub(crate) struct PromptScorer {
    model: Model,
    options: GeneratorOptions,
    generator: Mutex<Option<Generator>>,
}

impl PromptScorer {
    pub fn new(model: &Model, context: usize, kv: KvFormat) -> PromptScorer {
        let options = GeneratorOptions { slots: 1, context, kv, repetition_window: 1 };
        PromptScorer { model: model.clone(), options, generator: Mutex::default() }
    }

    /// The log-probability of each token of `ids` after those before it, with the `top` most probable tokens in its
    /// place. The first token has none. Blocks while the GPU computes.
    ///
    /// All values come from one row of logits, so the most probable token has the same value in both lists.
    pub fn score(
        &self,
        adapters: &Adapters,
        adapter: Option<&str>,
        ids: &[TokenId],
        top: usize,
        cancel: &CancelToken,
    ) -> Result<Vec<Scored>, ApiError> {
        let mut kept = self.generator.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(Generator::is_lost) {
            *kept = None;
        }
        if self.model.is_lost() {
            self.model.reload()?;
        }
        let bank = adapters.bank(adapter);
        let id = bank.as_ref().and_then(|(_, id)| *id);
        if let (Some(name), None) = (adapter, id) {
            return Err(GenerateError::NoAdapter { name: name.to_owned() }.into());
        }
        let generator = match &mut *kept {
            Some(generator) => generator,
            none => none.insert(match &bank {
                Some((bank, _)) => Generator::with_adapters(&self.model, self.options, bank)?,
                None => Generator::new(&self.model, self.options)?,
            }),
        };
        let mut scored = Vec::with_capacity(ids.len());
        scored.extend(ids.first().map(|&token| Scored { token, logprob: None, top: Vec::new() }));
        generator.logits(ids, id, cancel, &mut |row| {
            // The last row is about the token behind the prompt.
            if let Some(&token) = ids.get(scored.len()) {
                scored.push(read(row, token, top));
            }
        })?;
        Ok(scored)
    }
}

/// The log-probability of `token` in a row of logits, and the most probable tokens.
fn read(row: &[f32], token: TokenId, top: usize) -> Scored {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let logprob = |logit: f32| (f64::from(logit - largest) - sum.ln()) as f32;
    let mut best: Vec<(TokenId, f32)> = Vec::with_capacity(top + 1);
    for (id, &logit) in row.iter().enumerate() {
        if best.len() == top && best.last().is_none_or(|&(_, least)| logit <= least) {
            continue;
        }
        let place = best.partition_point(|&(_, other)| other >= logit);
        best.insert(place, (id as TokenId, logit));
        best.truncate(top);
    }
    let top = best.into_iter().map(|(id, logit)| (id, logprob(logit))).collect();
    Scored { token, logprob: row.get(token as usize).map(|&logit| logprob(logit)), top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_token_has_one_value() {
        let row = [0.5, 2.0, -1.0, 2.0, 1.5];
        let scored = read(&row, 1, 3);
        let ids: Vec<TokenId> = scored.top.iter().map(|&(id, _)| id).collect();
        assert_eq!(ids, [1, 3, 4], "equal ones in the order of their ids");
        assert_eq!(scored.logprob, Some(scored.top[0].1));
        let sum: f64 = (0..5).map(|id| f64::from(read(&row, id, 0).logprob.unwrap()).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert!(read(&row, 0, 0).top.is_empty());
    }
}
