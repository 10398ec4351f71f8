//! The tokenizer and chat template of a checkpoint.

use std::sync::Arc;

use serde_json::Value;

use crate::file::AtFile;
use crate::format::gguf::Gguf;
use crate::format::{Checkpoint, LoadError};
use crate::tokenizer::{ChatFormat, ChatTemplate, TextError, TokenId, Tokenizer, Vocab};

/// A model's tokenizer and chat template, as far as its checkpoint has them.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// The tokenizer; none in a checkpoint that has only weights.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The tokenizer with the chat template; none in a checkpoint without a template.
    pub chat: Option<ChatFormat>,
}

/// Reads the tokenizer and the chat template of `checkpoint`, without touching a weight.
///
/// A GGUF file has both in its metadata. A directory has a `tokenizer.json`; a
/// `tokenizer_config.json` that names the tokens at the beginning and end of a text; and a template
/// in the latter or in `chat_template.jinja`. A checkpoint without a tokenizer is not an error.
///
/// # Errors
///
/// * [`TextError::Io`] if a file cannot be read.
/// * [`TextError::Malformed`] or [`TextError::Unsupported`] for a damaged or unknown tokenizer.
/// * [`TextError::TemplateSyntax`] for a template that does not compile.
pub fn load(checkpoint: &Checkpoint) -> Result<Text, TextError> {
    let parts = match checkpoint.gguf() {
        Some(gguf) => from_gguf(gguf)?,
        None => from_directory(checkpoint)?,
    };
    let Some(Parts { tokenizer, template, end_ids }) = parts else {
        return Ok(Text::default());
    };
    let tokenizer = Arc::new(tokenizer);
    let text_of = |id: Option<TokenId>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    let (bos, eos) = (text_of(tokenizer.bos()), text_of(tokenizer.eos()));
    let template = template.map(|source| ChatTemplate::compile(&source, &bos, &eos)).transpose()?;
    let chat = template.map(|template| ChatFormat::new(Arc::clone(&tokenizer), template, &end_ids));
    Ok(Text { tokenizer: Some(tokenizer), chat })
}

/// The parts that are common to both kinds of checkpoint.
struct Parts {
    tokenizer: Tokenizer,
    template: Option<String>,
    /// Tokens that end a text, in addition to the tokenizer's own.
    end_ids: Vec<TokenId>,
}

fn from_gguf(gguf: &Gguf) -> Result<Option<Parts>, TextError> {
    let Some(model) = gguf.string("tokenizer.ggml.model").map_err(unreadable)? else {
        return Ok(None);
    };
    if matches!(model, "none" | "no_vocab") {
        return Ok(None);
    }
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let token = |name: &str| gguf.token(&key(name)).map_err(unreadable);
    let strings = |name: &str| gguf.strings(&key(name)).map_err(unreadable);
    let tokens = strings("tokens")?.unwrap_or_default();
    let vocab = Vocab {
        model: model.to_owned(),
        pre: gguf.string(&key("pre")).map_err(unreadable)?.unwrap_or_default().to_owned(),
        tokens: tokens.to_vec(),
        scores: gguf.floats(&key("scores")).map_err(unreadable)?.map(<[f32]>::to_vec),
        token_types: gguf.integers(&key("token_type")).map_err(unreadable)?,
        merges: strings("merges")?.unwrap_or_default().to_vec(),
        bos: token("bos_token_id")?,
        eos: token("eos_token_id")?,
        unk: token("unknown_token_id")?,
        add_bos: gguf.flag(&key("add_bos_token")).map_err(unreadable)?,
        add_space_prefix: gguf.flag(&key("add_space_prefix")).map_err(unreadable)?,
    };
    let mut end_ids = Vec::new();
    for name in ["eot_token_id", "eom_token_id"] {
        end_ids.extend(token(name)?.filter(|&id| (id as usize) < tokens.len()));
    }
    let template = gguf.string("tokenizer.chat_template").map_err(unreadable)?;
    let tokenizer = Tokenizer::from_vocab(vocab)?;
    Ok(Some(Parts { tokenizer, template: template.map(str::to_owned), end_ids }))
}

fn from_directory(checkpoint: &Checkpoint) -> Result<Option<Parts>, TextError> {
    let Some(path) = checkpoint.file_beside("tokenizer.json") else {
        return Ok(None);
    };
    let tokenizer = Tokenizer::from_json_file(&path)?;
    let beside = |name: &str| checkpoint.json_beside(name).map_err(unreadable);
    let settings = beside("tokenizer_config.json")?.unwrap_or_default();
    let generation = beside("generation_config.json")?.unwrap_or_default();
    let config = checkpoint.config_json().cloned().unwrap_or_default();

    let named = |key: &str| token_named(&settings[key]).and_then(|text| tokenizer.token_id(text));
    let numbered = |key: &str| {
        let ids = [&generation[key], &config[key]].map(|ids| ids_of(ids, tokenizer.vocab_len()));
        ids.concat()
    };
    let (bos_ids, end_ids) = (numbered("bos_token_id"), numbered("eos_token_id"));
    // With `null` in this file there is none. The number in the configuration then has another use.
    let without_bos = settings.get("bos_token").is_some_and(Value::is_null);
    let numbered_bos = bos_ids.first().copied().filter(|_| !without_bos);
    let bos = named("bos_token").or(tokenizer.bos()).or(numbered_bos);
    let eos = named("eos_token").or(end_ids.first().copied());
    let add_bos = settings["add_bos_token"].as_bool().unwrap_or(tokenizer.add_bos());

    let template = match checkpoint.file_beside("chat_template.jinja") {
        Some(path) => Some(std::fs::read_to_string(&path).map_err(TextError::io("read", path))?),
        None => template_of(&settings["chat_template"]),
    };
    let tokenizer = tokenizer.with_bos(bos, add_bos).with_eos(eos);
    Ok(Some(Parts { tokenizer, template, end_ids }))
}

/// A token of `tokenizer_config.json`: its spelling, or an object that holds it.
fn token_named(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// One id or a list of ids. Ids outside the vocabulary are left out, because configurations are often
/// copied between models unchanged.
fn ids_of(value: &Value, vocab_len: usize) -> Vec<TokenId> {
    let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let known = ids.iter().filter_map(Value::as_u64).filter(|&id| id < vocab_len as u64);
    known.filter_map(|id| TokenId::try_from(id).ok()).collect()
}

/// The template, or the one called `default` if there are several.
fn template_of(value: &Value) -> Option<String> {
    let several = value.as_array().map_or(&[][..], Vec::as_slice);
    let default = several.iter().find(|entry| entry["name"] == "default").or(several.first());
    let template = value.as_str().or_else(|| default?["template"].as_str());
    template.map(str::to_owned)
}

/// Metadata of the wrong type is an error of the tokenizer; the message of `error` already names
/// file, key and byte.
fn unreadable(error: LoadError) -> TextError {
    match error {
        LoadError::Io(file) => TextError::Io(file),
        other => TextError::Malformed { origin: "the tokenizer".to_owned(), rule: other.to_string() },
    }
}
