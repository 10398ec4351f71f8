//! Scores of whole sequences: the value of an adapter's scalar head at the last token.

use super::error::GenerateError;
use super::families::Row;
use super::fault::Head;
use super::generator::Generator;
use super::request::CancelToken;
use crate::gpu::{Buffer, Recording};
use crate::model::lora::AdapterId;
use crate::model::record_final_norm;
use crate::ops;
use crate::tokenizer::TokenId;

impl Generator {
    /// The value of `adapter`'s scalar head for each row of token ids, at its last token.
    ///
    /// One row per slot is computed at a time. Consecutive rows with a common prefix share it: it is computed
    /// once. A value depends only on its row, up to the rounding of sums in another order.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::EmptyPrompt`], [`GenerateError::UnknownToken`] or
    ///   [`GenerateError::ContextOverflow`], naming the row;
    /// * [`GenerateError::Adapter`] if the adapter is not in the bank, or has no head;
    /// * [`GenerateError::Cancelled`] after a cancel;
    /// * [`GenerateError::NotFinite`] or [`GenerateError::CacheRange`] if a value is NaN or infinite;
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
            let found = self.head_wave(wave, adapter, &buffers, cancel)?;
            if let Some(row) = found.iter().position(|value| !value.is_finite()) {
                let request = values.len() + row;
                return Err(self.not_finite(request, &wave[row], Some(adapter), Head::Scalar));
            }
            values.extend(found);
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
        let mut values = vec![0.0; rows.len()];
        // The head reads the last token's hidden state.
        let parts: Vec<Row<'_>> = rows.iter().map(|ids| Row::to_last(ids)).collect();
        let ends = self.logit_rows;
        self.each_pass(&parts, Some(adapter), ends, cancel, &mut |generator, mut rec, pass, segments| {
            let ends: Vec<usize> = pass.ends.iter().map(|&(_, row)| row).collect();
            generator.record_heads(&mut rec, &ends, adapter, buffers)?;
            rec.submit()?;
            let found = generator.model.device().read(&buffers.values, 0, ends.len())?;
            for (&(segment, _), value) in pass.ends.iter().zip(found) {
                values[segments[segment].slot] = value;
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// The head's values for the hidden states in the rows `ends` of the last pass.
    fn record_heads(
        &self,
        rec: &mut Recording,
        ends: &[usize],
        adapter: AdapterId,
        buffers: &HeadBuffers,
    ) -> Result<(), GenerateError> {
        let Some(bank) = self.bank.as_ref().filter(|_| !ends.is_empty()) else { return Ok(()) };
        let work = &self.work;
        let stride = work.x.stride;
        for (place, row) in ends.iter().enumerate() {
            rec.copy(&work.x.buffer, row * stride, &work.selected.buffer, place * stride, stride);
        }
        let place = bank.place(adapter).map_err(|source| GenerateError::Adapter { request: 0, source })?;
        self.model.device().write(&buffers.head_of, 0, &vec![place as u32; ends.len()])?;
        record_final_norm(rec, &self.model, &work.selected, &work.selected_normed, ends.len())?;
        let (hidden, heads) = (&work.selected_normed, bank.heads());
        ops::scalar_head(rec, hidden, heads, &buffers.head_of, &buffers.values, 0, ends.len())?;
        Ok(())
    }
}

/// Buffers that scalar heads need in addition to a generator's workspace; not more than scoring tokens.
struct HeadBuffers {
    head_of: Buffer<u32>,
    values: Buffer<f32>,
}
