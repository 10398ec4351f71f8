//! Results that are not finite: the first layer in which they appear.

use super::batch::{Segment, pack};
use super::error::GenerateError;
use super::generator::Generator;
use super::sequence::Sequence;
use crate::model::lora::AdapterId;
use crate::model::{Part, damaged_tensor, first_fault};
use crate::ops::{Drawn, TokenStat};
use crate::tokenizer::TokenId;

/// What turns the last hidden states into results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The model's output matrix.
    Vocabulary,
    /// An adapter's scalar head.
    Scalar,
}

impl Generator {
    /// `Ok` if the logits from which a token of `sequence` was drawn were finite.
    pub(super) fn check_drawn(&self, drawn: &Drawn, sequence: &Sequence) -> Result<(), GenerateError> {
        if drawn.logprob.is_finite() && drawn.sampling_logprob.is_finite() {
            return Ok(());
        }
        let (tokens, adapter) = (sequence.input(), sequence.adapter());
        Err(self.not_finite(sequence.index, &tokens, adapter, Head::Vocabulary))
    }

    /// `Ok` if the statistics of a row of tokens are finite.
    pub(super) fn check_stats(
        &self,
        request: usize,
        stats: &[TokenStat],
        tokens: &[TokenId],
        adapter: Option<AdapterId>,
    ) -> Result<(), GenerateError> {
        if stats.iter().all(|stat| stat.logprob.is_finite() && stat.entropy.is_finite()) {
            return Ok(());
        }
        Err(self.not_finite(request, tokens, adapter, Head::Vocabulary))
    }

    /// The error for a result of `tokens` that is NaN or infinite. Computes the tokens a second time, part by
    /// part, in the cache of slot 0: the caller must not use that slot's earlier contents afterwards.
    pub(super) fn not_finite(
        &self,
        request: usize,
        tokens: &[TokenId],
        adapter: Option<AdapterId>,
        head: Head,
    ) -> GenerateError {
        let (part, token) = match self.find_fault(tokens, adapter, head) {
            Ok(Some(found)) => found,
            Ok(None) => return GenerateError::NotFinite { request, part: None, token: 0, tensor: None },
            Err(error) => return error,
        };
        if let Part::Cache { layer, keys, largest } = part {
            return GenerateError::CacheRange { request, layer, keys, largest };
        }
        let tensor = damaged_tensor(&self.model, part);
        GenerateError::NotFinite { request, part: Some(part), token, tensor }
    }

    /// The first part that is not finite, and the index of the token.
    fn find_fault(
        &self,
        tokens: &[TokenId],
        adapter: Option<AdapterId>,
        head: Head,
    ) -> Result<Option<(Part, usize)>, GenerateError> {
        let segments = [Segment { slot: 0, base: self.cache.base(0), adapter, start: 0, tokens }];
        let mut done = 0;
        for pass in pack(&segments, self.rows, usize::MAX) {
            let batch = self.load_pass(&pass, &segments)?;
            let (bank, logits) = (self.bank.as_ref(), head == Head::Vocabulary);
            let (cache, work) = (&self.cache, &self.work);
            let found = first_fault(&self.model, cache, work, bank, batch, &pass.rows_at, logits)?;
            if let Some((part, row)) = found {
                return Ok(Some((part, done + row)));
            }
            done += pass.ids.len();
        }
        Ok((head == Head::Scalar).then_some((Part::ScalarHead, tokens.len().saturating_sub(1))))
    }
}
