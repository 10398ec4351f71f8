//! Log-probabilities and logits of given tokens, with the same forward pass as generation.

use super::batch::{Piece, Segment, pack};
use super::error::GenerateError;
use super::fault::Head;
use super::generator::Generator;
use super::request::CancelToken;
use super::slots::Slot;
use crate::gpu::{Buffer, Recording};
use crate::model::lora::AdapterId;
use crate::model::record_logits;
use crate::ops::{self, TokenStat};
use crate::tokenizer::TokenId;

/// Receives a run of logits: the recording that computes them, and their tokens.
type OnLogits<'a> = dyn FnMut(&Generator, Recording, &[Piece]) -> Result<(), GenerateError> + 'a;

impl Generator {
    /// For every row of token ids, `log p(ids[t + 1] | ids[..=t])` and the entropy of that distribution, in
    /// nats; one value fewer than ids. Logits are divided by `temperature`, above 0. Rows are packed, one per
    /// slot at a time. `adapter` is used for all rows.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::EmptyPrompt`], [`GenerateError::UnknownToken`] or
    ///   [`GenerateError::ContextOverflow`], naming the row;
    /// * [`GenerateError::Cancelled`] after a cancel;
    /// * [`GenerateError::NotFinite`] or [`GenerateError::CacheRange`] if a result is NaN or infinite;
    /// * [`GenerateError::Device`] if the device fails.
    pub fn token_stats(
        &mut self,
        rows: &[Vec<TokenId>],
        adapter: Option<AdapterId>,
        temperature: f32,
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<TokenStat>>, GenerateError> {
        for (index, ids) in rows.iter().enumerate() {
            self.check_prompt(index, ids, 0)?;
            self.check_adapter(index, adapter)?;
        }
        let device = self.model.device().clone();
        let targets: Buffer<u32> = device.buffer("targets", self.logit_rows)?;
        let stats: Buffer<TokenStat> = device.buffer("token stats", self.logit_rows)?;
        let mut results: Vec<Vec<TokenStat>> = rows.iter().map(|_| Vec::new()).collect();
        let slots = self.slots.len();
        for (group, wave) in rows.chunks(slots).enumerate() {
            self.each_logits(wave, adapter, 1, cancel, &mut |generator, mut rec, pieces| {
                let following = |piece: &Piece| &wave[piece.segment][piece.place + 1..][..piece.rows];
                let next: Vec<u32> = pieces.iter().flat_map(following).copied().collect();
                device.write(&targets, 0, &next)?;
                let logits = &generator.work.logits;
                ops::token_stats(&mut rec, logits, &targets, &stats, 0, next.len(), temperature)?;
                rec.submit()?;
                let mut values = device.read(&stats, 0, next.len())?.into_iter();
                for piece in pieces {
                    results[group * slots + piece.segment].extend(values.by_ref().take(piece.rows));
                }
                Ok(())
            })?;
            for (row, ids) in wave.iter().enumerate() {
                let index = group * slots + row;
                self.check_stats(index, &results[index], &ids[..ids.len() - 1], adapter)?;
            }
        }
        Ok(results)
    }

    /// All logits of `ids`, `(ids.len(), vocabulary)` row-major, passed in runs of rows as they are
    /// computed, because all of the logits may not fit in memory.
    ///
    /// # Errors
    ///
    /// As [`Generator::token_stats`].
    pub fn logits(
        &mut self,
        ids: &[TokenId],
        adapter: Option<AdapterId>,
        cancel: &CancelToken,
        on_rows: &mut dyn FnMut(&[f32]),
    ) -> Result<(), GenerateError> {
        self.check_prompt(0, ids, 0)?;
        self.check_adapter(0, adapter)?;
        let device = self.model.device().clone();
        let (width, stride) = (self.work.logits.width, self.work.logits.stride);
        self.each_logits(&[ids.to_vec()], adapter, 0, cancel, &mut |generator, mut rec, pieces| {
            rec.submit()?;
            let n: usize = pieces.iter().map(|piece| piece.rows).sum();
            let values = device.read(&generator.work.logits.buffer, 0, n * stride)?;
            let rows = || values.chunks_exact(stride).map(|row| &row[..width]);
            if !rows().flatten().all(|logit| logit.is_finite()) {
                return Err(generator.not_finite(0, ids, adapter, Head::Vocabulary));
            }
            rows().for_each(&mut *on_rows);
            Ok(())
        })
    }

    /// Runs `rows` (one per slot) without their last `but_last` tokens. Calls `each` with every run of
    /// logits: the recording that computes it, and the pieces of `rows` in it.
    fn each_logits(
        &mut self,
        rows: &[Vec<TokenId>],
        adapter: Option<AdapterId>,
        but_last: usize,
        cancel: &CancelToken,
        each: &mut OnLogits<'_>,
    ) -> Result<(), GenerateError> {
        for slot in &mut self.slots[..rows.len()] {
            *slot = Slot::default();
        }
        let segments: Vec<Segment<'_>> = rows
            .iter()
            .enumerate()
            .map(|(slot, ids)| Segment {
                slot,
                base: self.cache.base(slot),
                adapter,
                start: 0,
                tokens: &ids[..ids.len() - but_last.min(ids.len())],
            })
            .collect();
        for pass in pack(&segments, self.rows, usize::MAX) {
            let mut rec = self.record_pass(&pass, &segments)?;
            let stride = self.work.x.stride;
            let mut row = 0;
            while row < pass.ids.len() {
                if cancel.is_cancelled() {
                    return Err(GenerateError::Cancelled);
                }
                let n = self.logit_rows.min(pass.ids.len() - row);
                rec.copy(&self.work.x.buffer, row * stride, &self.work.selected.buffer, 0, n * stride);
                record_logits(&mut rec, &self.model, &self.work, &self.work.selected, n)?;
                let pieces: Vec<Piece> =
                    pass.pieces.iter().filter_map(|piece| piece.within(row, row + n)).collect();
                each(self, rec, &pieces)?;
                rec = Recording::new(self.model.device());
                row += n;
            }
        }
        Ok(())
    }
}
