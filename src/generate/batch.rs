//! Tokens of several sequences packed into forward passes without padding.

use crate::model::lora::AdapterId;
use crate::ops::QueryTile;
use crate::tokenizer::TokenId;

/// Tokens of one sequence to compute, from `start` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub slot: usize,
    /// Cache position of the sequence's first token.
    pub base: u32,
    pub adapter: Option<AdapterId>,
    pub start: usize,
    pub tokens: &'a [TokenId],
}

/// One forward pass: rows of several sequences, one after another.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    pub ids: Vec<u32>,
    pub rows_at: Vec<[u32; 2]>,
    pub tiles: Vec<QueryTile>,
    pub tile_rows: usize,
    /// Largest number of positions that a row attends to.
    pub reach: usize,
    /// `(segment, row)` for every segment whose last token is in this pass.
    pub ends: Vec<(usize, usize)>,
    /// The rows of each segment, in order.
    pub pieces: Vec<Piece>,
}

/// Rows of a pass that belong to one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub segment: usize,
    /// Index of the first row's token within the segment.
    pub place: usize,
    /// First row of the pass.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
}

impl Piece {
    /// The part in rows `from..to`.
    pub fn within(&self, from: usize, to: usize) -> Option<Piece> {
        let row = self.row.max(from);
        let end = (self.row + self.rows).min(to);
        (row < end).then(|| Piece {
            segment: self.segment,
            place: self.place + row - self.row,
            row,
            rows: end - row,
        })
    }
}

/// Cuts `segments` into passes of at most `rows` rows; at most `ends` segments end in one pass.
pub(super) fn pack(segments: &[Segment<'_>], rows: usize, ends: usize) -> Vec<Pass> {
    let mut passes = Vec::new();
    let mut pass = Pass::default();
    let mut lengths: Vec<usize> = Vec::new();
    let close = |pass: &mut Pass, lengths: &mut Vec<usize>, passes: &mut Vec<Pass>| {
        if !pass.ids.is_empty() {
            pass.tiles = QueryTile::cut(lengths);
            pass.tile_rows = pass.tiles.iter().map(|tile| tile.rows as usize).max().unwrap_or(0);
            lengths.clear();
            passes.push(std::mem::take(pass));
        }
    };
    for (index, segment) in segments.iter().enumerate() {
        let mut done = 0;
        while done < segment.tokens.len() {
            if pass.ids.len() == rows || pass.ends.len() == ends {
                close(&mut pass, &mut lengths, &mut passes);
            }
            let taken = (rows - pass.ids.len()).min(segment.tokens.len() - done);
            let first = pass.ids.len();
            pass.pieces.push(Piece { segment: index, place: done, row: first, rows: taken });
            pass.ids.extend_from_slice(&segment.tokens[done..done + taken]);
            let positions = segment.start + done..segment.start + done + taken;
            pass.reach = pass.reach.max(positions.end);
            pass.rows_at.extend(positions.map(|position| [segment.base, position as u32]));
            lengths.push(taken);
            done += taken;
            if done == segment.tokens.len() {
                pass.ends.push((index, first + taken - 1));
            }
        }
    }
    close(&mut pass, &mut lengths, &mut passes);
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_unequal_sequences_without_padding() {
        let tokens: Vec<TokenId> = (0..50).collect();
        let segments = [
            Segment { slot: 0, adapter: None, base: 0, start: 3, tokens: &tokens[..5] },
            Segment { slot: 1, adapter: None, base: 40, start: 0, tokens: &tokens[..20] },
            Segment { slot: 2, adapter: None, base: 80, start: 7, tokens: &tokens[..2] },
        ];
        let passes = pack(&segments, 16, 4);
        assert_eq!(passes.len(), 2);
        assert_eq!(passes.iter().map(|pass| pass.ids.len()).collect::<Vec<_>>(), [16, 11]);
        assert_eq!(passes[0].ends, [(0, 4)]);
        assert_eq!(passes[1].ends, [(1, 8), (2, 10)]);
        assert_eq!(passes[0].rows_at[5], [40, 0]);
        assert_eq!(passes[1].rows_at[0], [40, 11]);
        assert_eq!(passes[1].reach, 20);
        let covered: usize = passes[1].tiles.iter().map(|tile| tile.rows as usize).sum();
        assert_eq!(covered, 11);
    }

    #[test]
    fn ends_no_more_sequences_in_a_pass_than_have_logits() {
        let tokens: Vec<TokenId> = vec![1, 2];
        let segments: Vec<_> =
            (0..5).map(|slot| Segment { slot, adapter: None, base: 0, start: 0, tokens: &tokens }).collect();
        let passes = pack(&segments, 100, 2);
        assert_eq!(passes.iter().map(|pass| pass.ends.len()).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
