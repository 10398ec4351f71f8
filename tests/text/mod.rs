//! Tokenizers and chat templates, against other implementations' answers.

mod byte_level;
mod chat;
mod checkpoint;
mod json;
mod pre_tokenizers;
mod provenance;
mod sentence_piece;
mod template;
mod template_cost;
mod template_kinds;
mod unigram;

pub(crate) use template::template;

use std::path::{Path, PathBuf};

use parr::tokenizer::{TokenId, Tokenizer, Vocab};
use serde::Deserialize;

/// A text and what an independent encoder makes of it.
#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<TokenId>,
}

/// A small vocabulary with its cases, as `tests/golden/make_text.py` writes them.
#[derive(Deserialize)]
struct Small {
    vocab: SmallVocab,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct SmallVocab {
    model: String,
    pre: String,
    tokens: Vec<String>,
    scores: Option<Vec<f32>>,
    types: Vec<i32>,
    merges: Vec<String>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
    unk: Option<TokenId>,
    add_space_prefix: Option<bool>,
}

impl From<SmallVocab> for Vocab {
    fn from(vocab: SmallVocab) -> Vocab {
        Vocab {
            model: vocab.model,
            pre: vocab.pre,
            tokens: vocab.tokens,
            scores: vocab.scores,
            token_types: Some(vocab.types),
            merges: Some(vocab.merges),
            bos: vocab.bos,
            eos: vocab.eos,
            unk: vocab.unk,
            add_bos: None,
            add_space_prefix: vocab.add_space_prefix,
        }
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read_golden<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let bytes = std::fs::read(golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn small(name: &str) -> (Vocab, Vec<Case>) {
    let Small { vocab, cases } = read_golden(name);
    (vocab.into(), cases)
}

/// The start of SmolLM2's vocabulary: 17 special tokens, the bytes, 700 merges.
pub(crate) fn byte_level() -> Tokenizer {
    Tokenizer::from_vocab(small("text_byte_level.json").0).expect("a whole vocabulary")
}

/// A vocabulary of 520 pieces that SentencePiece trained.
pub(crate) fn sentence_piece() -> Tokenizer {
    Tokenizer::from_vocab(small("text_sentence_piece.json").0).expect("a whole vocabulary")
}
