//! Scores of given continuations of given prompts; logits are computed only for the continuations.

use super::batch::Piece;
use super::error::GenerateError;
use super::families::Row;
use super::generator::Generator;
use super::request::CancelToken;
use crate::gpu::{Buffer, Recording};
use crate::model::lora::AdapterId;
use crate::model::record_logits;
use crate::ops::{self, TokenStat};
use crate::tokenizer::TokenId;

/// Token ids: a given beginning, and a rest that is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// All ids (T).
    pub ids: Vec<TokenId>,
    /// Index of the first scored token, from 1 to T.
    pub from: usize,
}

impl Continuation {
    /// The tokens to compute: all except the last, whose successor is not needed.
    fn row(&self) -> Row<'_> {
        Row { tokens: &self.ids[..self.ids.len() - 1], unread: self.from - 1 }
    }
}

impl Generator {
    /// For every row, `log p(ids[t] | ids[..t])` and the entropy of that distribution, in nats, for `t` from
    /// [`Continuation::from`] on.
    ///
    /// The values are those of [`Generator::token_stats`]. One row per slot is computed at a time.
    /// Consecutive rows whose given parts have a common beginning share it: it is computed once. Logits are
    /// computed only for scored tokens.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::EmptyPrompt`] for a row without a given part, [`GenerateError::UnknownToken`]
    ///   or [`GenerateError::ContextOverflow`], naming the row;
    /// * [`GenerateError::Adapter`] if the adapter is not in the bank;
    /// * [`GenerateError::Cancelled`] after a cancel;
    /// * [`GenerateError::NotFinite`] or [`GenerateError::CacheRange`] if a result is NaN or infinite;
    /// * [`GenerateError::Device`] if the device fails.
    pub fn continuation_stats(
        &mut self,
        rows: &[Continuation],
        adapter: Option<AdapterId>,
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<TokenStat>>, GenerateError> {
        for (index, row) in rows.iter().enumerate() {
            self.check_prompt(index, &row.ids[..row.from.min(row.ids.len())], 0)?;
            self.check_prompt(index, &row.ids, 0)?;
            self.check_adapter(index, adapter)?;
        }
        let device = self.model.device().clone();
        let targets: Buffer<u32> = device.buffer("targets", self.logit_rows)?;
        let stats: Buffer<TokenStat> = device.buffer("token stats", self.logit_rows)?;
        let mut results: Vec<Vec<TokenStat>> = rows.iter().map(|_| Vec::new()).collect();
        let slots = self.slots.len();
        for (group, wave) in rows.chunks(slots).enumerate() {
            let parts: Vec<Row<'_>> = wave.iter().map(Continuation::row).collect();
            self.each_pass(&parts, adapter, usize::MAX, cancel, &mut |generator, rec, pass, segments| {
                // Indices count from the start of the computed part of a row.
                let scored = |piece: &Piece| {
                    let segment = &segments[piece.segment];
                    let first = wave[segment.slot].from - 1 - segment.start;
                    let behind = first.saturating_sub(piece.place).min(piece.rows);
                    piece.within(piece.row + behind, piece.row + piece.rows)
                };
                let pieces: Vec<Piece> = pass.pieces.iter().filter_map(scored).collect();
                let mut rec = Some(rec);
                for run in runs(&pieces, generator.logit_rows) {
                    let mut rec = rec.take().unwrap_or_else(|| Recording::new(&device));
                    let n = generator.record_logits_of(&mut rec, &run)?;
                    let next = run.iter().flat_map(|piece| {
                        let segment = &segments[piece.segment];
                        let place = segment.start + piece.place;
                        &wave[segment.slot].ids[place + 1..][..piece.rows]
                    });
                    device.write(&targets, 0, &next.copied().collect::<Vec<u32>>())?;
                    ops::token_stats(&mut rec, &generator.work.logits, &targets, &stats, 0, n, 1.0)?;
                    rec.submit()?;
                    let mut values = device.read(&stats, 0, n)?.into_iter();
                    for piece in run {
                        let row = group * slots + segments[piece.segment].slot;
                        results[row].extend(values.by_ref().take(piece.rows));
                    }
                }
                // A pass without scored tokens is computed too, because later passes need its keys.
                rec.map_or(Ok(()), |mut rec| Ok(rec.submit()?))
            })?;
            for (row, continuation) in wave.iter().enumerate() {
                let (index, ids) = (group * slots + row, &continuation.ids);
                self.check_stats(index, &results[index], &ids[..ids.len() - 1], adapter)?;
            }
        }
        Ok(results)
    }

    /// Records the logits of the rows in `pieces`, one after another, and returns the number of rows.
    fn record_logits_of(&self, rec: &mut Recording, pieces: &[Piece]) -> Result<usize, GenerateError> {
        let work = &self.work;
        let stride = work.x.stride;
        let mut n = 0;
        for piece in pieces {
            let (from, to) = (piece.row * stride, n * stride);
            rec.copy(&work.x.buffer, from, &work.selected.buffer, to, piece.rows * stride);
            n += piece.rows;
        }
        record_logits(rec, &self.model, work, &work.selected, n)?;
        Ok(n)
    }
}

/// `pieces` in their order, cut into runs of at most `rows` rows.
fn runs(pieces: &[Piece], rows: usize) -> Vec<Vec<Piece>> {
    let mut runs: Vec<Vec<Piece>> = Vec::new();
    let mut room = 0;
    for piece in pieces {
        let end = piece.row + piece.rows;
        let mut row = piece.row;
        while row < end {
            if room == 0 {
                runs.push(Vec::new());
                room = rows;
            }
            let taken = piece.within(row, row + room).expect("the row is within the piece");
            row += taken.rows;
            room -= taken.rows;
            runs.last_mut().expect("pushed where there is no room").push(taken);
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_all_pieces_in_order() {
        let piece = |segment, place, row, rows| Piece { segment, place, row, rows };
        let pieces = [piece(0, 2, 5, 6), piece(1, 0, 20, 1), piece(3, 4, 21, 4)];
        let cut = runs(&pieces, 4);
        let expected = [
            vec![piece(0, 2, 5, 4)],
            vec![piece(0, 6, 9, 2), piece(1, 0, 20, 1), piece(3, 4, 21, 1)],
            vec![piece(3, 5, 22, 3)],
        ];
        assert_eq!(cut, expected);
        assert!(runs(&[], 4).is_empty());
    }
}
