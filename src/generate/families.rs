//! Rows with a common prefix: the prefix is computed once, and the rest for each row.

use super::batch::{Pass, Segment, pack};
use super::error::GenerateError;
use super::generator::Generator;
use super::request::CancelToken;
use super::slots::{Slot, shared};
use crate::gpu::Recording;
use crate::model::lora::AdapterId;
use crate::tokenizer::TokenId;

/// Minimum share of a row that is copied from the row before it. A shorter common prefix is computed again,
/// so that rows with only a short opening in common start their own families.
const WORTH_A_COPY: usize = 4;

/// A row to compute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub tokens: &'a [TokenId],
    /// Number of its first tokens whose results are not read, so that they may be copied from another row.
    pub unread: usize,
}

impl<'a> Row<'a> {
    /// A row of which only the last token's result is read.
    pub fn to_last(ids: &'a [TokenId]) -> Row<'a> {
        Row { tokens: ids, unread: ids.len() - 1 }
    }
}

/// Receives a pass: the recording that computes its hidden states, and the rows of these. A segment's slot is
/// the index of its row. It must submit the recording.
type OnPass<'a> = dyn FnMut(&Generator, Recording, &Pass, &[Segment<'_>]) -> Result<(), GenerateError> + 'a;

impl Generator {
    /// Computes `rows`, at most one per slot, and calls `each` with every pass; at most `ends` rows end in a
    /// pass. A row with the same prefix as the first row of its family copies that prefix.
    pub(super) fn each_pass(
        &mut self,
        rows: &[Row<'_>],
        adapter: Option<AdapterId>,
        ends: usize,
        cancel: &CancelToken,
        each: &mut OnPass<'_>,
    ) -> Result<(), GenerateError> {
        for slot in &mut self.slots[..rows.len()] {
            *slot = Slot::default();
        }
        let origins = origins(rows);
        for second in [false, true] {
            let mut copies = Recording::new(self.model.device());
            let mut segments = Vec::new();
            for (slot, row) in rows.iter().enumerate() {
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
                    adapter,
                    start: known,
                    tokens: &row.tokens[known..],
                });
            }
            copies.submit()?;
            for pass in pack(&segments, self.rows, ends) {
                if cancel.is_cancelled() {
                    return Err(GenerateError::Cancelled);
                }
                let rec = self.record_pass(&pass, &segments)?;
                each(self, rec, &pass, &segments)?;
            }
        }
        Ok(())
    }
}

/// For each row, the row from which its prefix is copied and the number of copied tokens; the row itself and
/// 0 for the first row of a family.
fn origins(rows: &[Row<'_>]) -> Vec<(usize, usize)> {
    let mut first = 0;
    let origin = |(row, &Row { tokens, unread }): (usize, &Row<'_>)| {
        let known = shared(rows[first].tokens, tokens).min(unread);
        if row == first || known == 0 || known * WORTH_A_COPY < tokens.len() {
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

    fn families(rows: &[Vec<TokenId>]) -> Vec<(usize, usize)> {
        origins(&rows.iter().map(|ids| Row::to_last(ids)).collect::<Vec<_>>())
    }

    #[test]
    fn families_copy_from_their_first_row() {
        let row = |start: u32, own: u32| -> Vec<TokenId> {
            // Five tokens shared by all rows, fifteen by the family, and ten of the row alone.
            let parts = [vec![1; 5], vec![10 + start; 15], vec![100 + own; 10]];
            parts.concat()
        };
        let rows = [row(0, 0), row(0, 1), row(0, 2), row(1, 3), row(1, 4), row(2, 5)];
        assert_eq!(families(&rows), [(0, 0), (0, 20), (0, 20), (3, 0), (3, 20), (5, 0)]);
        let same = vec![row(0, 0); 2];
        assert_eq!(families(&same), [(0, 0), (0, 29)]);
        assert_eq!(families(&[vec![7], vec![7]]), [(0, 0), (1, 0)], "nothing to copy of one token");
    }

    #[test]
    fn what_is_read_is_computed_in_every_row() {
        let ids: Vec<TokenId> = (0..30).collect();
        let rows = [12, 12, 3].map(|unread| Row { tokens: &ids, unread });
        assert_eq!(origins(&rows), [(0, 0), (0, 12), (2, 0)], "three of thirty are not worth a copy");
    }
}
