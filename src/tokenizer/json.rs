//! `tokenizer.json`: everything in it is checked before a text meets it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::added::{Added, AddedToken, Order};
use super::cuts::Cuts;
use super::decoder::Decoding;
use super::library::{COMPONENTS, Library, ListedToken, caught_reading};
use super::model::ModelOutline;
use super::normalizer::Normalizer;
use super::pattern::Meter;
use super::pieces::{MAX_TOKENS, Pieces};
use super::{Engine, TextError, Tokenizer};

/// Most bytes of a file: six times the largest in use.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 28;

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
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

pub(super) fn read(bytes: &[u8], origin: &str) -> Result<Tokenizer, TextError> {
    // Some editors put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    caught_reading(origin, || check_and_build(bytes, origin))
}

fn check_and_build(bytes: &[u8], origin: &str) -> Result<Tokenizer, TextError> {
    let malformed = |rule: String| TextError::Malformed { origin: origin.to_owned(), rule };
    let broken = |error: serde_json::Error| malformed(error.to_string());

    let mut outline: Outline = serde_json::from_slice(bytes).map_err(broken)?;
    for token in &mut outline.added_tokens {
        token.normalized.get_or_insert(!token.special);
    }
    let model = ModelOutline::read(outline.model, origin)?;
    check_added(&outline.added_tokens, &model).map_err(malformed)?;
    let count = token_count(&outline.added_tokens, &model).map_err(malformed)?;
    let decoding = Decoding::read(&outline.decoder)?;
    let normalizer = Normalizer::read(&outline.normalizer, origin)?;
    let cuts = Cuts::read(&outline.pre_tokenizer, origin)?;
    let pieces = spell(&outline.added_tokens, &model, count, &decoding);

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
        model: model.build().map_err(malformed)?,
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

/// One more than the largest id. No two tokens may share one.
fn token_count(added: &[ListedToken], model: &ModelOutline) -> Result<usize, String> {
    let vocab = &model.vocab;
    let added = added.iter().map(|token| (u64::from(token.id), token.content.as_str()));
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
fn check_added(added: &[ListedToken], model: &ModelOutline) -> Result<(), String> {
    let vocab = &model.vocab;
    let mut given: HashMap<&str, u64> = HashMap::new();
    let mut next = vocab.len() as u64;
    for token in added.iter().filter(|token| !token.content.is_empty()) {
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
fn spell(added: &[ListedToken], model: &ModelOutline, count: usize, decoding: &Decoding) -> Pieces {
    let mut texts: Vec<(Vec<u8>, bool)> = vec![(Vec::new(), false); count];
    for (token, id) in &model.vocab {
        texts[*id as usize].0 = decoding.spell(token);
    }
    for token in added {
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
