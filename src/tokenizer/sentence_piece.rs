//! SentencePiece BPE (`tokenizer.ggml.model = llama`): pieces with scores, bytes as fallback.
//!
//! The `tokenizers` crate merges by a table of pairs in a fixed order. SentencePiece merges any
//! two neighbours whose joined text is a piece, the best score first and the leftmost among
//! equals. With equal scores, no table of pairs gives the same result, so this module has its own
//! encoder.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::added::{Added, AddedToken, Order, Part};
use super::pieces::{Pieces, byte_token, spell_sentence_piece};
use super::vocab::{TokenType, Vocab, malformed};
use super::{Engine, Specials, TextError, TokenId, Tokenizer};

/// The character for a space in the pieces.
const SPACE: char = '▁';

#[derive(Debug)]
pub(super) struct SentencePiece {
    tokens: Vec<String>,
    scores: Vec<f32>,
    /// The pieces that merging may make: normal and user-defined ones. Special tokens cannot come out of text.
    pieces: HashMap<String, TokenId>,
    /// The token of each byte, where the vocabulary has one.
    bytes: [Option<TokenId>; 256],
    unk: Option<TokenId>,
    space_prefix: bool,
    added: Added,
}

pub(super) fn build(vocab: Vocab) -> Result<Tokenizer, TextError> {
    let types = vocab.check()?;
    let notes = vocab.notes();
    let Some(scores) = vocab.scores else {
        let rule = "the list is missing, but merging needs it".to_owned();
        return Err(malformed("scores", rule));
    };
    let count = vocab.tokens.len();
    // A file without these ids means those of the first LLaMA vocabulary.
    let or_first =
        |id: Option<TokenId>, first: TokenId| id.or(Some(first).filter(|&first| (first as usize) < count));
    let (unk, bos, eos) = (or_first(vocab.unk, 0), or_first(vocab.bos, 1), or_first(vocab.eos, 2));

    let space_prefix = vocab.add_space_prefix.unwrap_or(true);
    let mut table = Pieces::new(space_prefix);
    let mut pieces = HashMap::with_capacity(count);
    let mut bytes = [None; 256];
    let mut added = Vec::new();
    for (id, (token, kind)) in (0..).zip(vocab.tokens.iter().zip(types)) {
        let special = kind.is_special();
        match kind {
            TokenType::Byte => {
                let Some(byte) = byte_token(token) else {
                    let rule = format!("token {id}, `{token}`, is a byte token but not of the form <0x0A>");
                    return Err(malformed("tokens", rule));
                };
                table.push(&[byte], false);
                bytes[usize::from(byte)].get_or_insert(id);
                continue;
            }
            TokenType::Normal | TokenType::Unused => table.push(&spell_sentence_piece(token), false),
            TokenType::UserDefined => table.push(token.replace(SPACE, " ").as_bytes(), false),
            TokenType::Control | TokenType::Unknown => table.push(token.as_bytes(), true),
        }
        if matches!(kind, TokenType::Normal | TokenType::UserDefined) {
            // If several pieces have the same spelling, texts encode to the first.
            pieces.entry(token.clone()).or_insert(id);
        }
        if special || kind == TokenType::UserDefined {
            added.push(AddedToken { text: token.clone(), id, special, ..AddedToken::default() });
        }
    }
    let added = Added::new(added, Order::Longest).map_err(|rule| malformed("tokens", rule))?;
    let model = SentencePiece { tokens: vocab.tokens, scores, pieces, bytes, unk, space_prefix, added };

    Ok(Tokenizer {
        engine: Engine::SentencePiece(Box::new(model)),
        pieces: table,
        bos,
        eos,
        add_bos: bos.is_some() && vocab.add_bos.unwrap_or(true),
        notes,
    })
}

impl SentencePiece {
    /// Matches added tokens first, as llama.cpp does: user-defined ones always, special ones only with [`Specials::Parse`].
    /// The text at the beginning and after an added token gets its leading space; then the character `mark` is
    /// removed and the text is merged.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if far more added tokens overlap than in any real text.
    pub(super) fn encode(
        &self,
        text: &str,
        specials: Specials,
        mark: Option<char>,
    ) -> Result<Vec<TokenId>, TextError> {
        let mut ids = Vec::new();
        let wanted = |token: &AddedToken| specials == Specials::Parse || !token.special;
        for part in self.added.split(text, wanted)? {
            let text = match part {
                Part::Token(id) => {
                    ids.push(id);
                    continue;
                }
                Part::Text(text) => text,
            };
            let mut spelled = String::with_capacity(text.len() + SPACE.len_utf8());
            spelled.extend(self.space_prefix.then_some(SPACE));
            spelled.extend(text.chars().map(|letter| if letter == ' ' { SPACE } else { letter }));
            self.merge(&spelled, mark, &mut ids);
        }
        Ok(ids)
    }

    /// The best pieces of `text`, which has `▁` for spaces and no added tokens.
    fn merge(&self, text: &str, mark: Option<char>, ids: &mut Vec<TokenId>) {
        let text = match mark {
            Some(mark) => Cow::Owned(text.replace(mark, "")),
            None => Cow::Borrowed(text),
        };
        let mut unknown_before = false;
        for piece in Merging::new(self, &text).run() {
            unknown_before = if let Some(&id) = self.pieces.get(piece) {
                ids.push(id);
                false
            } else if let Some(bytes) = self.spell_in_bytes(piece) {
                ids.extend(bytes);
                false
            } else {
                // A run of unknown characters is one unknown token.
                ids.extend(self.unk.filter(|_| !unknown_before));
                true
            };
        }
    }

    /// The byte tokens of a piece, if the vocabulary has all of them.
    fn spell_in_bytes(&self, piece: &str) -> Option<Vec<TokenId>> {
        let bytes = piece.bytes();
        bytes.map(|byte| self.bytes[usize::from(byte)]).collect()
    }

    pub(super) fn token_text(&self, id: TokenId) -> Option<String> {
        self.tokens.get(id as usize).cloned()
    }

    pub(super) fn token_id(&self, text: &str) -> Option<TokenId> {
        let added = self.added.tokens().iter().find(|added| added.text == text);
        let byte = || byte_token(text).and_then(|byte| self.bytes[usize::from(byte)]);
        added.map(|added| added.id).or_else(|| self.pieces.get(text).copied()).or_else(byte)
    }

    pub(super) fn is_added(&self, id: TokenId) -> bool {
        self.added.tokens().iter().any(|added| added.id == id)
    }

    pub(super) fn added(&self) -> Vec<(String, bool)> {
        let added = self.added.tokens().iter();
        added.map(|added| (added.text.clone(), added.special)).collect()
    }
}

/// A stretch of text that is one piece so far, in a doubly linked list.
struct Symbol {
    start: usize,
    /// In bytes; zero once it has been merged into its left neighbour.
    len: usize,
    left: Option<usize>,
    right: Option<usize>,
}

/// Two neighbours whose joined text is a piece.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both; if it no longer matches, one side has grown and the pair is stale.
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

struct Merging<'a> {
    model: &'a SentencePiece,
    text: &'a str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Pair>,
}

impl<'a> Merging<'a> {
    /// One symbol for each character.
    fn new(model: &'a SentencePiece, text: &'a str) -> Self {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(index, (start, letter))| Symbol {
                start,
                len: letter.len_utf8(),
                left: index.checked_sub(1),
                right: Some(index + 1),
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.right = None;
        }
        Self { model, text, symbols, queue: BinaryHeap::new() }
    }

    /// Merges until no two neighbours make a piece, and returns the pieces in order.
    fn run(mut self) -> impl Iterator<Item = &'a str> {
        for right in 1..self.symbols.len() {
            self.offer(Some(right - 1), Some(right));
        }
        while let Some(pair) = self.queue.pop() {
            let (left, right) = (&self.symbols[pair.left], &self.symbols[pair.right]);
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            let after = right.right;
            self.symbols[pair.right].len = 0;
            self.symbols[pair.left].len = pair.len;
            self.symbols[pair.left].right = after;
            if let Some(after) = after {
                self.symbols[after].left = Some(pair.left);
            }
            self.offer(self.symbols[pair.left].left, Some(pair.left));
            self.offer(Some(pair.left), after);
        }
        let text = self.text;
        let whole = self.symbols.into_iter().filter(|symbol| symbol.len > 0);
        whole.map(move |symbol| &text[symbol.start..symbol.start + symbol.len])
    }

    /// Queues two neighbours if their joined text is a piece.
    fn offer(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        let start = self.symbols[left].start;
        let len = self.symbols[left].len + self.symbols[right].len;
        if let Some(&id) = self.model.pieces.get(&self.text[start..start + len]) {
            let score = self.model.scores[id as usize];
            self.queue.push(Pair { score, left, right, len });
        }
    }
}
