//! The models of a `tokenizer.json`, which turn words into tokens: read, checked, then built.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Vocab};

use super::pattern::Meter;
use super::unigram::{Piece, Unigram};
use super::{TextError, TokenId};

/// A model.
#[derive(Debug)]
pub(super) enum Model {
    /// Merges neighbours. The library's.
    Bpe(Box<BPE>),
    /// Finds the best pieces.
    Unigram(Unigram),
}

impl Model {
    /// The tokens of `word`, from left to right.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if the model has no token for a part of it, or if it takes too long.
    pub(super) fn tokenize(&self, word: &str, meter: &Meter) -> Result<Vec<Piece>, TextError> {
        match self {
            Self::Unigram(model) => model.tokenize(word, meter),
            Self::Bpe(model) => {
                let failed = |error: tokenizers::Error| TextError::Encode { reason: error.to_string() };
                let tokens = model.tokenize(word).map_err(failed)?;
                let piece = |token: tokenizers::Token| {
                    let range = token.offsets.0..token.offsets.1;
                    let is_spelled = word.get(range.clone()) == Some(&token.value);
                    Piece { id: token.id, range, is_spelled }
                };
                Ok(tokens.into_iter().map(piece).collect())
            }
        }
    }

    pub(super) fn token_text(&self, id: TokenId) -> Option<String> {
        match self {
            Self::Bpe(model) => model.id_to_token(id),
            Self::Unigram(model) => model.token_text(id),
        }
    }

    pub(super) fn token_id(&self, text: &str) -> Option<TokenId> {
        match self {
            Self::Bpe(model) => model.token_to_id(text),
            Self::Unigram(model) => model.token_id(text),
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Value> {
        match self {
            Self::Bpe(model) => serde_json::to_value(model),
            Self::Unigram(model) => Ok(model.to_json()),
        }
    }
}

/// A model as a file describes it.
pub(super) struct ModelOutline<'a> {
    /// The id of each token.
    pub(super) vocab: HashMap<Cow<'a, str>, u64>,
    rest: Rest<'a>,
}

/// What a kind of model has besides its tokens.
enum Rest<'a> {
    Bpe(BpeOutline<'a>),
    /// Nothing: it is built at once.
    Unigram(Unigram),
}

/// The kind, read before the rest so that an unsupported kind gets a clear error.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    merges: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct BpeOutline<'a> {
    #[serde(borrow)]
    vocab: HashMap<Cow<'a, str>, u64>,
    #[serde(borrow)]
    merges: Vec<Merge<'a>>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

/// One merge, in the older spelling (`"a b"`) or the newer (`["a", "b"]`).
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge<'a> {
    Line(#[serde(borrow)] Cow<'a, str>),
    Pair(String, String),
}

#[derive(Deserialize)]
struct UnigramOutline {
    vocab: Vec<(String, f64)>,
    #[serde(default)]
    unk_id: Option<usize>,
    #[serde(default)]
    byte_fallback: Option<bool>,
}

impl<'a> ModelOutline<'a> {
    /// Reads the `model` of the file `origin`.
    ///
    /// # Errors
    ///
    /// * [`TextError::Unsupported`] for another kind.
    /// * [`TextError::Malformed`] if it is no such model.
    pub(super) fn read(model: &'a RawValue, origin: &str) -> Result<Self, TextError> {
        let broken = |error: serde_json::Error| TextError::Malformed {
            origin: origin.to_owned(),
            rule: format!("model: {error}"),
        };
        let Kind { kind, merges } = serde_json::from_str(model.get()).map_err(broken)?;
        // Older files do not name the kind; a BPE model is recognized by its merges.
        let kind = kind.unwrap_or(if merges.is_some() { "BPE" } else { "unnamed" }.into());
        match kind.as_ref() {
            "BPE" => {
                let mut outline: BpeOutline = serde_json::from_str(model.get()).map_err(broken)?;
                Ok(Self { vocab: std::mem::take(&mut outline.vocab), rest: Rest::Bpe(outline) })
            }
            "Unigram" => {
                let outline: UnigramOutline = serde_json::from_str(model.get()).map_err(broken)?;
                let vocab =
                    (0..).zip(&outline.vocab).map(|(id, (text, _))| (text.clone().into(), id)).collect();
                let UnigramOutline { vocab: pieces, unk_id, byte_fallback } = outline;
                let built = Unigram::new(pieces, unk_id, byte_fallback.unwrap_or(false));
                let built = built.map_err(|rule| TextError::Malformed { origin: origin.to_owned(), rule })?;
                Ok(Self { vocab, rest: Rest::Unigram(built) })
            }
            _ => Err(TextError::Unsupported {
                what: "tokenizer model",
                name: kind.into_owned(),
                known: "BPE, Unigram".to_owned(),
            }),
        }
    }

    /// Builds the model. Its dropout, which is for training, stays off: the same text must always give the same ids.
    ///
    /// # Errors
    ///
    /// The broken rule.
    pub(super) fn build(self) -> Result<Model, String> {
        match self.rest {
            Rest::Bpe(outline) => bpe(self.vocab, outline),
            Rest::Unigram(model) => Ok(Model::Unigram(model)),
        }
    }
}

fn bpe(vocab: HashMap<Cow<'_, str>, u64>, outline: BpeOutline) -> Result<Model, String> {
    let merges = merges(&vocab, &outline)?;
    // Ids are below MAX_TOKENS.
    let vocab: Vocab = vocab.into_iter().map(|(token, id)| (token.into_owned(), id as TokenId)).collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .fuse_unk(outline.fuse_unk.unwrap_or(false))
        .byte_fallback(outline.byte_fallback.unwrap_or(false))
        .ignore_merges(outline.ignore_merges.unwrap_or(false));
    if let Some(unk) = outline.unk_token {
        builder = builder.unk_token(unk);
    }
    let model = builder.build().map_err(|error| error.to_string())?;
    Ok(Model::Bpe(Box::new(model)))
}

/// The merges as pairs. The engine does not check that a merge's token is in the vocabulary, so this does.
fn merges(vocab: &HashMap<Cow<'_, str>, u64>, outline: &BpeOutline) -> Result<Vec<(String, String)>, String> {
    for (field, text) in [
        ("continuing_subword_prefix", &outline.continuing_subword_prefix),
        ("end_of_word_suffix", &outline.end_of_word_suffix),
    ] {
        if text.as_ref().is_some_and(|text| !text.is_empty()) {
            return Err(format!("model.{field} is set, which no LLaMA-like tokenizer does"));
        }
    }
    if let Some(unk) = outline.unk_token.as_ref().filter(|unk| !vocab.contains_key(unk.as_str())) {
        return Err(format!("model.unk_token `{unk}` is not in model.vocab"));
    }
    let mut pairs = Vec::with_capacity(outline.merges.len());
    for (index, merge) in outline.merges.iter().enumerate() {
        let (left, right) = match merge {
            Merge::Pair(left, right) => (left.as_str(), right.as_str()),
            Merge::Line(line) => line.split_once(' ').ok_or_else(|| {
                format!("model.merges entry {index}, `{line}`, is not two tokens with a space between")
            })?,
        };
        if left.is_empty() || right.is_empty() {
            return Err(format!("model.merges entry {index} has an empty side"));
        }
        let joined = format!("{left}{right}");
        for token in [left, right, &joined] {
            if !vocab.contains_key(token) {
                return Err(format!(
                    "model.merges entry {index} needs the token `{token}`, which is not in model.vocab"
                ));
            }
        }
        pairs.push((left.to_owned(), right.to_owned()));
    }
    Ok(pairs)
}
