//! `tokenizer.json`: checked first, then passed to the `tokenizers` crate, which does not check it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokenizers::ModelWrapper;

use super::library::Library;
use super::pieces::{ByteLevel, MAX_TOKENS, Pieces, spell_sentence_piece};
use super::{Engine, TextError, TokenId, Tokenizer};

/// The kind of model, read before the rest so that an unsupported kind gets a clear error.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    model: ModelKind<'a>,
}

#[derive(Deserialize)]
struct ModelKind<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    merges: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    model: ModelOutline<'a>,
    #[serde(default)]
    added_tokens: Vec<AddedOutline>,
    #[serde(default)]
    normalizer: Option<Step>,
    #[serde(default)]
    decoder: Option<Step>,
    #[serde(default)]
    post_processor: Option<Step>,
}

#[derive(Deserialize)]
struct ModelOutline<'a> {
    #[serde(borrow)]
    vocab: HashMap<Cow<'a, str>, u64>,
    #[serde(borrow)]
    merges: Vec<Merge<'a>>,
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
struct AddedOutline {
    id: u64,
    content: String,
    #[serde(default)]
    special: bool,
}

/// The fields of a normalizer, decoder or post-processor that are used here.
#[derive(Deserialize)]
struct Step {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    decoders: Vec<Step>,
    #[serde(default)]
    processors: Vec<Step>,
    #[serde(default)]
    normalizers: Vec<Step>,
    /// Metaspace: whether the encoder puts a space first.
    #[serde(default)]
    prepend_scheme: Option<String>,
    /// Strip: the number of characters removed from the start.
    #[serde(default)]
    start: usize,
    /// TemplateProcessing: the template for a single text.
    #[serde(default)]
    single: serde_json::Value,
}

pub(super) fn read(bytes: &[u8], origin: &str) -> Result<Tokenizer, TextError> {
    let malformed = |rule: String| TextError::Malformed { origin: origin.to_owned(), rule };
    let broken = |error: serde_json::Error| malformed(error.to_string());

    let Kind { model } = serde_json::from_slice(bytes).map_err(broken)?;
    // Older files do not name the kind; a BPE model is recognized by its merges.
    let kind = model.kind.unwrap_or(match model.merges {
        Some(_) => Cow::Borrowed("BPE"),
        None => Cow::Borrowed("unnamed"),
    });
    if kind != "BPE" {
        return Err(TextError::Unsupported {
            what: "tokenizer model",
            name: kind.into_owned(),
            known: "BPE".to_owned(),
        });
    }

    let outline: Outline = serde_json::from_slice(bytes).map_err(broken)?;
    check_model(&outline.model).map_err(malformed)?;
    check_normalizers(outline.normalizer.as_ref())?;
    let count = token_count(&outline).map_err(malformed)?;
    let decoding = Decoding::of(outline.decoder.as_ref())?;
    let pieces = spell(&outline, count, decoding);
    let bos = outline.post_processor.as_ref().and_then(Step::first_token);
    let added = |text: &String| outline.added_tokens.iter().find(|token| token.content == *text);
    let bos = bos.and_then(|text| added(&text).map(|token| token.id as TokenId));

    let mut tokenizer =
        tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| malformed(error.to_string()))?;
    for token in &outline.added_tokens {
        let (text, id) = (&token.content, token.id);
        if tokenizer.token_to_id(text).is_some_and(|given| u64::from(given) != id) {
            let rule = format!("added_tokens gives `{text}` the id {id}; the vocabulary gives another id");
            return Err(malformed(rule));
        }
    }
    // Dropout is for training; with it, the same text would not always give the same ids.
    let random = match tokenizer.get_model() {
        ModelWrapper::BPE(model) if model.dropout.is_some() => Some(model.clone()),
        _ => None,
    };
    if let Some(mut model) = random {
        model.dropout = None;
        tokenizer.with_model(model);
    }

    Ok(Tokenizer {
        engine: Engine::Library(Box::new(Library::new(tokenizer))),
        pieces,
        bos,
        eos: None,
        add_bos: bos.is_some(),
    })
}

/// The engine does not check that a merge's token is in the vocabulary, so this does.
fn check_model(model: &ModelOutline) -> Result<(), String> {
    for (field, text) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if text.as_ref().is_some_and(|text| !text.is_empty()) {
            return Err(format!("model.{field} is set, which no LLaMA-like tokenizer does"));
        }
    }
    for (index, merge) in model.merges.iter().enumerate() {
        let (left, right) = match merge {
            Merge::Pair(left, right) => (left.as_str(), right.as_str()),
            Merge::Line(line) => line.split_once(' ').ok_or_else(|| {
                format!("model.merges entry {index}, `{line}`, is not two tokens with a space between")
            })?,
        };
        let joined = format!("{left}{right}");
        for token in [left, right, &joined] {
            if !model.vocab.contains_key(token) {
                return Err(format!(
                    "model.merges entry {index} needs the token `{token}`, which is not in model.vocab"
                ));
            }
        }
    }
    Ok(())
}

/// Normalizers that are safe with any parameters.
const NORMALIZERS: &[&str] =
    &["Sequence", "Prepend", "Replace", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "ByteLevel"];

/// Refuses others, such as SentencePiece's compiled tables: their memory use depends on unchecked data.
fn check_normalizers(step: Option<&Step>) -> Result<(), TextError> {
    let Some(step) = step else {
        return Ok(());
    };
    if !NORMALIZERS.contains(&step.kind.as_str()) {
        return Err(TextError::Unsupported {
            what: "tokenizer normalizer",
            name: step.kind.clone(),
            known: NORMALIZERS.join(", "),
        });
    }
    step.normalizers.iter().try_for_each(|inner| check_normalizers(Some(inner)))
}

/// One more than the largest id.
fn token_count(outline: &Outline) -> Result<usize, String> {
    let added = outline.added_tokens.iter().map(|token| (token.id, token.content.as_str()));
    let normal = outline.model.vocab.iter().map(|(token, id)| (*id, token.as_ref()));
    let mut count = 0;
    for (id, token) in normal.chain(added) {
        if id >= MAX_TOKENS as u64 {
            return Err(format!("token `{token}` has id {id}, at or above {MAX_TOKENS}"));
        }
        count = count.max(id as usize + 1);
    }
    if count == 0 {
        return Err("the vocabulary is empty".to_owned());
    }
    Ok(count)
}

/// The bytes of every id, in order of ids.
fn spell(outline: &Outline, count: usize, decoding: Decoding) -> Pieces {
    let mut texts: Vec<(Vec<u8>, bool)> = vec![(Vec::new(), false); count];
    let spelling = ByteLevel::new();
    for (token, id) in &outline.model.vocab {
        texts[*id as usize].0 = match decoding {
            Decoding::ByteLevel => spelling.spell(token),
            Decoding::SentencePiece { .. } => spell_sentence_piece(token),
        };
    }
    for token in &outline.added_tokens {
        texts[token.id as usize] = (token.content.clone().into_bytes(), token.special);
    }
    let strips = matches!(decoding, Decoding::SentencePiece { leading_space: true });
    let mut pieces = Pieces::new(strips);
    for (bytes, special) in &texts {
        pieces.push(bytes, *special);
    }
    pieces
}

/// How tokens become text.
#[derive(Clone, Copy)]
enum Decoding {
    ByteLevel,
    SentencePiece { leading_space: bool },
}

impl Decoding {
    fn of(decoder: Option<&Step>) -> Result<Self, TextError> {
        let Some(decoder) = decoder else {
            return Err(unsupported_decoder("null"));
        };
        let steps = match decoder.kind.as_str() {
            "Sequence" => decoder.decoders.iter().collect(),
            _ => vec![decoder],
        };
        if steps.iter().any(|step| step.kind == "ByteLevel") {
            return Ok(Self::ByteLevel);
        }
        let metaspace = steps.iter().find(|step| step.kind == "Metaspace");
        let bytes = steps.iter().any(|step| step.kind == "ByteFallback");
        if metaspace.is_none() && !bytes {
            return Err(unsupported_decoder(&decoder.kind));
        }
        let prepends = |step: &&Step| step.prepend_scheme.as_deref() != Some("never");
        let strips = steps.iter().any(|step| step.kind == "Strip" && step.start > 0);
        Ok(Self::SentencePiece { leading_space: strips || metaspace.is_some_and(prepends) })
    }
}

fn unsupported_decoder(name: &str) -> TextError {
    TextError::Unsupported {
        what: "tokenizer decoder",
        name: name.to_owned(),
        known: "ByteLevel, Metaspace, a Sequence with ByteFallback".to_owned(),
    }
}

impl Step {
    /// The special token that a `TemplateProcessing` puts before a single text.
    fn first_token(&self) -> Option<String> {
        let first = self.single.get(0).and_then(|part| part.get("SpecialToken"));
        let id = first.and_then(|token| token.get("id")).and_then(|id| id.as_str());
        let nested = || self.processors.iter().find_map(Step::first_token);
        id.map(str::to_owned).or_else(nested)
    }
}
