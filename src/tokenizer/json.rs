//! `tokenizer.json`: everything in it is checked before a text meets it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Vocab};

use super::added::{Added, AddedToken, Order};
use super::cuts::Cuts;
use super::decoder::Decoding;
use super::library::{COMPONENTS, Library, ListedToken, caught_reading};
use super::normalizer::Normalizer;
use super::pattern::Meter;
use super::pieces::{MAX_TOKENS, Pieces};
use super::{Engine, TextError, TokenId, Tokenizer};

/// Most bytes of a file: six times the largest in use.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 28;

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
    added_tokens: Vec<ListedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    post_processor: Value,
}

#[derive(Deserialize)]
struct ModelOutline<'a> {
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

pub(super) fn read(bytes: &[u8], origin: &str) -> Result<Tokenizer, TextError> {
    // Some editors put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    caught_reading(origin, || check_and_build(bytes, origin))
}

fn check_and_build(bytes: &[u8], origin: &str) -> Result<Tokenizer, TextError> {
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

    let mut outline: Outline = serde_json::from_slice(bytes).map_err(broken)?;
    for token in &mut outline.added_tokens {
        token.normalized.get_or_insert(!token.special);
    }
    check_added(&outline).map_err(malformed)?;
    let count = token_count(&outline).map_err(malformed)?;
    let merges = merges(&outline.model).map_err(malformed)?;
    let decoding = Decoding::read(&outline.decoder)?;
    let normalizer = Normalizer::read(&outline.normalizer, origin)?;
    let cuts = Cuts::read(&outline.pre_tokenizer, origin)?;
    let pieces = spell(&outline, count, &decoding);

    let bos = first_token(&outline.post_processor);
    let added = |text: &str| outline.added_tokens.iter().find(|token| token.content == text);
    let bos = bos.and_then(|text| added(text).map(|token| token.id));
    let [added, added_normalized, added_spelled] = added_tokens(&outline, &normalizer, origin)?;

    let parts = [&outline.normalizer, &outline.pre_tokenizer, &outline.post_processor, &outline.decoder];
    let mut components = json!({});
    for (key, part) in COMPONENTS.iter().zip(parts) {
        components[*key] = part.clone();
    }
    let library = Library {
        model: model_of(outline.model, merges).map_err(malformed)?,
        added,
        added_normalized,
        added_spelled,
        normalizer,
        cuts,
        listed: outline.added_tokens,
        components,
    };
    Ok(Tokenizer {
        engine: Engine::Library(Box::new(library)),
        pieces,
        bos,
        eos: None,
        add_bos: bos.is_some(),
        notes: Vec::new(),
    })
}

/// The library's model. Its dropout, which is for training, stays off: the same text must always give the same ids.
fn model_of(outline: ModelOutline, merges: Vec<(String, String)>) -> Result<BPE, String> {
    // Ids are below MAX_TOKENS.
    let vocab: Vocab =
        outline.vocab.into_iter().map(|(token, id)| (token.into_owned(), id as TokenId)).collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .fuse_unk(outline.fuse_unk.unwrap_or(false))
        .byte_fallback(outline.byte_fallback.unwrap_or(false))
        .ignore_merges(outline.ignore_merges.unwrap_or(false));
    if let Some(unk) = outline.unk_token {
        builder = builder.unk_token(unk);
    }
    builder.build().map_err(|error| error.to_string())
}

/// The merges as pairs. The engine does not check that a merge's token is in the vocabulary, so this does.
fn merges(model: &ModelOutline) -> Result<Vec<(String, String)>, String> {
    for (field, text) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if text.as_ref().is_some_and(|text| !text.is_empty()) {
            return Err(format!("model.{field} is set, which no LLaMA-like tokenizer does"));
        }
    }
    if let Some(unk) = model.unk_token.as_ref().filter(|unk| !model.vocab.contains_key(unk.as_str())) {
        return Err(format!("model.unk_token `{unk}` is not in model.vocab"));
    }
    let mut pairs = Vec::with_capacity(model.merges.len());
    for (index, merge) in model.merges.iter().enumerate() {
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
            if !model.vocab.contains_key(token) {
                return Err(format!(
                    "model.merges entry {index} needs the token `{token}`, which is not in model.vocab"
                ));
            }
        }
        pairs.push((left.to_owned(), right.to_owned()));
    }
    Ok(pairs)
}

/// One more than the largest id. No two tokens may share one.
fn token_count(outline: &Outline) -> Result<usize, String> {
    let vocab = &outline.model.vocab;
    let added = outline.added_tokens.iter().map(|token| (u64::from(token.id), token.content.as_str()));
    let own = vocab.iter().map(|(token, id)| (*id, token.as_ref()));
    let mut count = 0;
    let mut owners: HashMap<u64, &str> = HashMap::with_capacity(vocab.len());
    for (id, token) in own.chain(added) {
        if id >= MAX_TOKENS as u64 {
            return Err(format!("token `{token}` has id {id}, at or above {MAX_TOKENS}"));
        }
        count = count.max(id as usize + 1);
        if let Some(owner) = owners.insert(id, token).filter(|owner| *owner != token) {
            let (first, second) = (owner.min(token), owner.max(token));
            return Err(format!("the tokens `{first}` and `{second}` have the same id {id}"));
        }
    }
    if count == 0 {
        return Err("the vocabulary is empty".to_owned());
    }
    // An id without a token costs little, but a file with one token and a huge id is no vocabulary.
    if count > 2 * owners.len() + (1 << 16) {
        return Err(format!("the largest id is {}, but there are only {} tokens", count - 1, owners.len()));
    }
    Ok(count)
}

/// Every added token must have the id that the `tokenizers` library gives it: the vocabulary's, or the next free one.
fn check_added(outline: &Outline) -> Result<(), String> {
    let vocab = &outline.model.vocab;
    let mut given: HashMap<&str, u64> = HashMap::new();
    let mut next = vocab.len() as u64;
    for token in outline.added_tokens.iter().filter(|token| !token.content.is_empty()) {
        let text = token.content.as_str();
        let known = given.get(text).or_else(|| vocab.get(text)).copied();
        let id = known.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        if id != u64::from(token.id) {
            let named = token.id;
            return Err(format!(
                "added_tokens gives `{text}` the id {named}; the vocabulary gives another id, {id}"
            ));
        }
        given.insert(text, id);
    }
    Ok(())
}

/// The added tokens that are matched in the text as it is, those that are matched in the normalized text, and the
/// latter once more as the file spells them.
fn added_tokens(outline: &Outline, normalizer: &Normalizer, origin: &str) -> Result<[Added; 3], TextError> {
    let mut raw = Vec::new();
    let (mut normalized, mut spelled) = (Vec::new(), Vec::new());
    for token in &outline.added_tokens {
        let in_normalized = token.normalized.unwrap_or(!token.special);
        let added = AddedToken {
            text: token.content.clone(),
            id: token.id,
            special: token.special,
            single_word: token.single_word,
            takes_left: token.lstrip,
            takes_right: token.rstrip,
        };
        if !in_normalized {
            raw.push(added);
            continue;
        }
        let text = normalizer.run(&token.content, &Meter::start(token.content.len()))?;
        normalized.push(AddedToken { text, ..added.clone() });
        spelled.push(added);
    }
    let built = |tokens| {
        let malformed = |rule| TextError::Malformed { origin: origin.to_owned(), rule };
        Added::new(tokens, Order::Leftmost).map_err(malformed)
    };
    Ok([built(raw)?, built(normalized)?, built(spelled)?])
}

/// The bytes of every id, in order of ids.
fn spell(outline: &Outline, count: usize, decoding: &Decoding) -> Pieces {
    let mut texts: Vec<(Vec<u8>, bool)> = vec![(Vec::new(), false); count];
    for (token, id) in &outline.model.vocab {
        texts[*id as usize].0 = decoding.spell(token);
    }
    for token in &outline.added_tokens {
        texts[token.id as usize] = (decoding.spell(&token.content), token.special);
    }
    let mut pieces = Pieces::new(decoding.leading_space());
    for (bytes, special) in &texts {
        pieces.push(bytes, *special);
    }
    pieces
}

/// The special token that a `TemplateProcessing` puts before a single text.
fn first_token(processor: &Value) -> Option<&str> {
    let first = &processor["single"][0]["SpecialToken"]["id"];
    let inner = processor["processors"].as_array().map_or(&[][..], Vec::as_slice);
    first.as_str().or_else(|| inner.iter().find_map(first_token))
}
