//! Scores of whole sequences: an adapter's scalar head, read at the last token.

use super::batch::{Segment, pack};
use super::error::GenerateError;
use super::generator::Generator;
use super::request::CancelToken;
use super::slots::{Slot, shared};
use crate::gpu::{Buffer, Recording};
use crate::model::lora::AdapterId;
use crate::ops;
use crate::tokenizer::TokenId;

/// A row copies its start from the row before it if that is at least this part of it: less is computed
/// again, so that rows which have but an opening in common start their own families.
const WORTH_A_COPY: usize = 4;

impl Generator {
    /// What the scalar head of `adapter` says of each row of token ids, read at its last token.
    ///
    /// As many rows as there are slots are computed together. Rows that begin alike and stand one behind
    /// another share that beginning: it is computed once. A value depends on its row alone, up to the
    /// rounding of sums in another order.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::EmptyPrompt`], [`GenerateError::UnknownToken`] or
    ///   [`GenerateError::ContextOverflow`], naming the row;
    /// * [`GenerateError::Adapter`] if the adapter is not in the bank, or has no head;
    /// * [`GenerateError::Cancelled`] after a cancel;
    /// * [`GenerateError::Device`] if the device fails.
    pub fn head_values(
        &mut self,
        rows: &[Vec<TokenId>],
        adapter: AdapterId,
        cancel: &CancelToken,
    ) -> Result<Vec<f32>, GenerateError> {
        for (index, ids) in rows.iter().enumerate() {
            self.check_prompt(index, ids, 0)?;
            self.check_head(index, adapter)?;
        }
        let device = self.model.device().clone();
        let buffers = HeadBuffers {
            head_of: device.buffer("heads of rows", self.logit_rows)?,
            values: device.buffer("values of heads", self.logit_rows)?,
        };
        let mut values = Vec::with_capacity(rows.len());
        let slots = self.slots.len();
        for wave in rows.chunks(slots) {
            values.extend(self.head_wave(wave, adapter, &buffers, cancel)?);
        }
        Ok(values)
    }

    /// The values of one row per slot.
    fn head_wave(
        &mut self,
        rows: &[Vec<TokenId>],
        adapter: AdapterId,
        buffers: &HeadBuffers,
        cancel: &CancelToken,
    ) -> Result<Vec<f32>, GenerateError> {
        for slot in &mut self.slots[..rows.len()] {
            *slot = Slot::default();
        }
        let origins = origins(rows);
        let mut values = vec![0.0; rows.len()];
        for second in [false, true] {
            let mut copies = Recording::new(self.model.device());
            let mut segments = Vec::new();
            for (slot, ids) in rows.iter().enumerate() {
                let (from, known) = origins[slot];
                if (from != slot) != second {
                    continue;
                }
                if second {
                    self.cache.copy_prefix(&mut copies, from, slot, known)?;
                }
                segments.push(Segment {
                    slot,
                    base: self.cache.base(slot),
                    adapter: Some(adapter),
                    start: known,
                    tokens: &ids[known..],
                });
            }
            copies.submit()?;
            for pass in pack(&segments, self.rows, self.logit_rows) {
                if cancel.is_cancelled() {
                    return Err(GenerateError::Cancelled);
                }
                let mut rec = self.record_pass(&pass, &segments)?;
                let ends: Vec<usize> = pass.ends.iter().map(|&(_, row)| row).collect();
                self.record_heads(&mut rec, &ends, adapter, buffers)?;
                rec.submit()?;
                let found = self.model.device().read(&buffers.values, 0, ends.len())?;
                for (&(segment, _), value) in pass.ends.iter().zip(found) {
                    values[segments[segment].slot] = value;
                }
            }
        }
        Ok(values)
    }

    /// The head's values of the hidden states in the rows `ends` of the last pass.
    fn record_heads(
        &self,
        rec: &mut Recording,
        ends: &[usize],
        adapter: AdapterId,
        buffers: &HeadBuffers,
    ) -> Result<(), GenerateError> {
        let Some(bank) = self.bank.as_ref().filter(|_| !ends.is_empty()) else { return Ok(()) };
        let (work, weights) = (&self.work, self.model.weights());
        let stride = work.x.stride;
        for (place, row) in ends.iter().enumerate() {
            rec.copy(&work.x.buffer, row * stride, &work.selected.buffer, place * stride, stride);
        }
        let place = bank.place(adapter).map_err(|source| GenerateError::Adapter { request: 0, source })?;
        self.model.device().write(&buffers.head_of, 0, &vec![place as u32; ends.len()])?;
        let eps = self.model.config().norm_eps;
        ops::rms_norm(rec, &work.selected, &weights.final_norm, eps, &work.selected_normed, ends.len())?;
        let (hidden, heads) = (&work.selected_normed, bank.heads());
        ops::scalar_head(rec, hidden, heads, &buffers.head_of, &buffers.values, 0, ends.len())?;
        Ok(())
    }
}

/// What reading heads needs beside a generator's workspace; no more than scoring tokens does.
struct HeadBuffers {
    head_of: Buffer<u32>,
    values: Buffer<f32>,
}

/// For each row the row that its start is copied from, and how many tokens that are: itself and none for
/// the first of a family, whose last token is the only one that all its values need.
fn origins(rows: &[Vec<TokenId>]) -> Vec<(usize, usize)> {
    let mut first = 0;
    let origin = |(row, ids): (usize, &Vec<TokenId>)| {
        // The last token is always computed: its hidden state is what the head reads.
        let known = shared(&rows[first], ids).min(ids.len() - 1);
        if row == first || known * WORTH_A_COPY < ids.len() {
            first = row;
            return (row, 0);
        }
        (first, known)
    };
    rows.iter().enumerate().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_copy_from_their_first_row() {
        let row = |start: u32, own: u32| -> Vec<TokenId> {
            // Five tokens that all share, fifteen of the family, ten of the row.
            let parts = [vec![1; 5], vec![10 + start; 15], vec![100 + own; 10]];
            parts.concat()
        };
        let rows = [row(0, 0), row(0, 1), row(0, 2), row(1, 3), row(1, 4), row(2, 5)];
        assert_eq!(origins(&rows), [(0, 0), (0, 20), (0, 20), (3, 0), (3, 20), (5, 0)]);
        let same = vec![row(0, 0); 2];
        assert_eq!(origins(&same), [(0, 0), (0, 29)]);
        assert_eq!(origins(&[vec![7], vec![7]]), [(0, 0), (1, 0)], "nothing to copy of one token");
    }
}
