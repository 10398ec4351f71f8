//! Logits of a few candidates for the next token.

use super::error::GenerateError;
use super::families::Row;
use super::fault::Head;
use super::generator::Generator;
use super::request::CancelToken;
use crate::gpu::Buffer;
use crate::model::lora::AdapterId;
use crate::model::record_logits;
use crate::tokenizer::TokenId;

impl Generator {
    /// The logits of `tokens` after each row of token ids, `(rows, tokens)`. Differences between the logits
    /// of one row are differences of log-probabilities.
    ///
    /// One row per slot is computed at a time. Consecutive rows with a common prefix share it: it is computed
    /// once.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::EmptyPrompt`], [`GenerateError::UnknownToken`] or
    ///   [`GenerateError::ContextOverflow`], naming the row; no row is named for an unknown id in `tokens`;
    /// * [`GenerateError::Adapter`] if the adapter is not in the bank;
    /// * [`GenerateError::Cancelled`] after a cancel;
    /// * [`GenerateError::NotFinite`] or [`GenerateError::CacheRange`] if a logit is NaN or infinite;
    /// * [`GenerateError::Device`] if the device fails.
    pub fn next_logits(
        &mut self,
        rows: &[Vec<TokenId>],
        tokens: &[TokenId],
        adapter: Option<AdapterId>,
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<f32>>, GenerateError> {
        for (index, ids) in rows.iter().enumerate() {
            self.check_prompt(index, ids, 0)?;
            self.check_adapter(index, adapter)?;
        }
        let vocab = self.model.config().vocab;
        if let Some(place) = tokens.iter().position(|&id| id as usize >= vocab) {
            return Err(GenerateError::UnknownToken { request: 0, place, id: tokens[place], vocab });
        }
        let device = self.model.device().clone();
        let wanted: Buffer<f32> = device.buffer("wanted logits", self.logit_rows * tokens.len().max(1))?;
        let mut logits = vec![Vec::new(); rows.len()];
        let (slots, ends) = (self.slots.len(), self.logit_rows);
        for (group, wave) in rows.chunks(slots).enumerate() {
            let parts: Vec<Row<'_>> = wave.iter().map(|ids| Row::to_last(ids)).collect();
            self.each_pass(&parts, adapter, ends, cancel, &mut |generator, mut rec, pass, segments| {
                let work = &generator.work;
                let (hidden, vocab) = (work.x.stride, work.logits.stride);
                for (row, &(_, from)) in pass.ends.iter().enumerate() {
                    let (from, to) = (from * hidden, row * hidden);
                    rec.copy(&work.x.buffer, from, &work.selected.buffer, to, hidden);
                }
                if !pass.ends.is_empty() {
                    record_logits(&mut rec, &generator.model, work, &work.selected, pass.ends.len())?;
                }
                for row in 0..pass.ends.len() {
                    for (at, &id) in tokens.iter().enumerate() {
                        let from = row * vocab + id as usize;
                        rec.copy(&work.logits.buffer, from, &wanted, row * tokens.len() + at, 1);
                    }
                }
                rec.submit()?;
                let mut found = device.read(&wanted, 0, pass.ends.len() * tokens.len())?.into_iter();
                for &(segment, _) in &pass.ends {
                    let row = group * slots + segments[segment].slot;
                    logits[row] = found.by_ref().take(tokens.len()).collect();
                }
                Ok(())
            })?;
            for (row, ids) in wave.iter().enumerate() {
                let index = group * slots + row;
                if !logits[index].iter().all(|logit| logit.is_finite()) {
                    return Err(self.not_finite(index, ids, adapter, Head::Vocabulary));
                }
            }
        }
        Ok(logits)
    }
}
