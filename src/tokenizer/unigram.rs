//! Unigram models of a `tokenizer.json`: a word becomes those pieces whose scores have the largest sum.
//!
//! The model of the `tokenizers` library keeps a tree with a node for every byte of every piece, some hundred bytes
//! each. This one gives the same tokens from a table, and within a limit on time.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Value, json};

use super::pattern::Meter;
use super::{TextError, TokenId};

/// Most bytes of one piece. SentencePiece writes at most 16 characters by default.
pub(super) const MAX_PIECE_BYTES: usize = 256;

/// How much less an unknown character counts than the worst piece: SentencePiece's number.
const UNKNOWN_PENALTY: f64 = 10.0;

/// Steps between two looks at the clock.
const STEPS_A_LOOK: usize = 1 << 12;

/// Pieces with their scores.
#[derive(Debug)]
pub(super) struct Unigram {
    /// The spelling and the score of each id.
    pieces: Vec<(String, f64)>,
    ids: HashMap<String, TokenId>,
    /// Bytes of the longest piece.
    longest: usize,
    unk: Option<TokenId>,
    unk_score: f64,
    /// Whether an unknown character becomes byte tokens.
    byte_fallback: bool,
    /// The token of each byte, where the vocabulary has one.
    bytes: Box<[Option<TokenId>; 256]>,
}

/// A token and the bytes of the word that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: TokenId,
    pub(super) range: Range<usize>,
    /// Whether the token is spelled as these bytes. Byte tokens and the unknown token are not.
    pub(super) is_spelled: bool,
}

/// The best way to reach a place of the word: its last token begins at `start`.
#[derive(Clone, Copy)]
struct Step {
    score: f64,
    start: usize,
    id: TokenId,
}

impl Unigram {
    /// # Errors
    ///
    /// The broken rule.
    pub(super) fn new(
        pieces: Vec<(String, f64)>,
        unk: Option<usize>,
        byte_fallback: bool,
    ) -> Result<Self, String> {
        let mut ids = HashMap::with_capacity(pieces.len());
        let mut worst = f64::INFINITY;
        let mut longest = 0;
        for (id, (text, score)) in (0..).zip(&pieces) {
            if text.len() > MAX_PIECE_BYTES {
                let bytes = text.len();
                return Err(format!(
                    "entry {id} of model.vocab has {bytes} bytes, more than {MAX_PIECE_BYTES}"
                ));
            }
            if let Some(first) = ids.insert(text.clone(), id) {
                return Err(format!("the entries {first} and {id} of model.vocab are both `{text}`"));
            }
            worst = worst.min(*score);
            longest = longest.max(text.len());
        }
        let unk = match unk {
            Some(id) if id >= pieces.len() => {
                let count = pieces.len();
                return Err(format!("model.unk_id is {id}, but model.vocab has only {count} entries"));
            }
            id => id.map(|id| id as TokenId),
        };
        let bytes = Box::new(std::array::from_fn(|byte| ids.get(&format!("<0x{byte:02X}>")).copied()));
        let unk_score = worst - UNKNOWN_PENALTY;
        Ok(Self { pieces, ids, longest, unk, unk_score, byte_fallback, bytes })
    }

    pub(super) fn token_text(&self, id: TokenId) -> Option<String> {
        self.pieces.get(id as usize).map(|(text, _)| text.clone())
    }

    pub(super) fn token_id(&self, text: &str) -> Option<TokenId> {
        self.ids.get(text).copied()
    }

    /// The model as in a `tokenizer.json`.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "type": "Unigram", "unk_id": self.unk, "vocab": self.pieces, "byte_fallback": self.byte_fallback,
        })
    }

    /// The tokens of `word`, from left to right.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if it takes too long, or if a character is unknown and the model has no unknown token.
    pub(super) fn tokenize(&self, word: &str, meter: &Meter) -> Result<Vec<Piece>, TextError> {
        let steps = self.best_steps(word, meter)?;
        let mut pieces = Vec::new();
        let mut end = word.len();
        while end > 0 {
            let (start, id) = (steps[end].start, steps[end].id);
            match pieces.last_mut() {
                // A run of unknown characters is one token.
                Some(Piece { id: after, range, .. }) if Some(id) == self.unk && *after == id => {
                    range.start = start;
                }
                _ => pieces.push(Piece { id, range: start..end, is_spelled: true }),
            }
            end = start;
        }
        pieces.reverse();
        if pieces.iter().any(|piece| Some(piece.id) == self.unk) {
            pieces = pieces.into_iter().flat_map(|piece| self.known(word, piece)).collect();
        }
        Ok(pieces)
    }

    /// For each place in `word`, the best way to it. The places inside characters have no meaning.
    fn best_steps(&self, word: &str, meter: &Meter) -> Result<Vec<Step>, TextError> {
        let none = Step { score: f64::NEG_INFINITY, start: usize::MAX, id: 0 };
        let mut steps = vec![none; word.len() + 1];
        steps[0].score = 0.0;
        let mut looks = 0;
        for (start, letter) in word.char_indices() {
            looks += 1;
            if looks % STEPS_A_LOOK == 0 {
                meter.check()?;
            }
            let before = steps[start].score;
            let mut offer = |end: usize, score: f64, id| {
                let step = &mut steps[end];
                // Of equal ways the first counts, so the longest last piece.
                if step.start == usize::MAX || before + score > step.score {
                    *step = Step { score: before + score, start, id };
                }
            };
            let mut is_known = false;
            for (at, letter_then) in word[start..].char_indices() {
                let len = at + letter_then.len_utf8();
                if len > self.longest {
                    break;
                }
                let Some(&id) = self.ids.get(&word[start..start + len]) else { continue };
                offer(start + len, self.pieces[id as usize].1, id);
                is_known |= at == 0;
            }
            if !is_known {
                let unk = self.unk.ok_or_else(|| TextError::Encode {
                    reason: format!("the vocabulary has no piece for `{letter}` and no unknown token"),
                })?;
                offer(start + letter.len_utf8(), self.unk_score, unk);
            }
        }
        Ok(steps)
    }

    /// What a piece ends as: unknown characters that are a piece together, bytes, or the unknown token.
    fn known(&self, word: &str, piece: Piece) -> Vec<Piece> {
        let text = &word[piece.range.clone()];
        if Some(piece.id) != self.unk {
            return vec![piece];
        }
        if let Some(&id) = self.ids.get(text) {
            return vec![Piece { id, ..piece }];
        }
        let bytes = text.bytes().map(|byte| self.bytes[usize::from(byte)].filter(|_| self.byte_fallback));
        let bytes: Option<Vec<TokenId>> = bytes.collect();
        let ids = bytes.unwrap_or_else(|| vec![piece.id]);
        ids.into_iter().map(|id| Piece { id, range: piece.range.clone(), is_spelled: false }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::Model as _;

    fn ids(model: &Unigram, word: &str) -> Vec<TokenId> {
        let pieces = model.tokenize(word, &Meter::start(word.len())).expect("is quick and known");
        pieces.into_iter().map(|piece| piece.id).collect()
    }

    fn pieces(list: &[(&str, f64)]) -> Vec<(String, f64)> {
        list.iter().map(|(text, score)| ((*text).to_owned(), *score)).collect()
    }

    #[test]
    fn the_largest_sum_wins() {
        let list = pieces(&[
            ("<unk>", 0.0),
            ("a", -1.0),
            ("b", -1.0),
            ("ab", -1.5),
            ("ba", -3.0),
            ("<0xC3>", 0.0),
            ("<0xA9>", 0.0),
        ]);
        let plain = Unigram::new(list.clone(), Some(0), false).expect("sound");
        assert_eq!(ids(&plain, "abba"), [3, 2, 1]);
        assert_eq!(ids(&plain, ""), [0; 0]);
        // A run of unknown characters is one unknown token.
        assert_eq!(ids(&plain, "aééb"), [1, 0, 2]);
        let bytes = Unigram::new(list.clone(), Some(0), true).expect("sound");
        assert_eq!(ids(&bytes, "aéb"), [1, 5, 6, 2]);
        assert_eq!(ids(&bytes, "xé"), [0]);
        let found = bytes.tokenize("aé", &Meter::start(3)).expect("sound");
        assert_eq!(found[0], Piece { id: 1, range: 0..1, is_spelled: true });
        assert_eq!(found[2], Piece { id: 6, range: 1..3, is_spelled: false });
        let without = Unigram::new(list, None, true).expect("sound");
        let error = without.tokenize("aé", &Meter::start(3)).expect_err("unknown").to_string();
        assert!(error.contains("no piece for `é`"), "{error}");
    }

    #[test]
    fn senseless_vocabularies_are_refused() {
        let refused =
            |list: &[(&str, f64)], unk| Unigram::new(pieces(list), unk, false).expect_err("senseless");
        assert!(refused(&[("a", 0.0), ("a", 1.0)], None).contains("entries 0 and 1"));
        assert!(refused(&[("a", 0.0)], Some(1)).contains("unk_id is 1"));
        assert!(refused(&[(&"a".repeat(257), 0.0)], None).contains("257 bytes"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        /// The same tokens as the library's, whose pieces may have equal scores.
        #[test]
        fn the_library_gives_the_same_tokens(
            list in prop::collection::btree_map("[abé日]{1,4}|<0x(C3|A9|E6)>", -4..4i32, 0..24),
            word in "[abcé日x<>0]{0,24}",
            byte_fallback: bool,
        ) {
            let mut all = vec![("<unk>".to_owned(), 0.0)];
            all.extend(list.into_iter().map(|(text, score)| (text, f64::from(score) / 2.0)));
            let theirs = tokenizers::models::unigram::Unigram::from(all.clone(), Some(0), byte_fallback);
            let theirs = theirs.expect("sound").tokenize(&word).expect("known");
            let ours = Unigram::new(all, Some(0), byte_fallback).expect("sound");
            let ours = ours.tokenize(&word, &Meter::start(word.len())).expect("known");
            let theirs: Vec<_> = theirs.into_iter().map(|token| (token.id, token.offsets)).collect();
            let ours: Vec<_> = ours.into_iter().map(|piece| (piece.id, (piece.range.start, piece.range.end))).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
