//! The tokenizer and chat template of a checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::file::AtFile;
use crate::format::gguf::Gguf;
use crate::format::{Checkpoint, LoadError};
use crate::tokenizer::{ChatFormat, ChatTemplate, TemplateValue, TextError, TokenId, Tokenizer, Vocab};

/// A model's tokenizer and chat template, as far as its checkpoint has them.
///
/// A tokenizer or a template that cannot be used is no error of the model: token ids can do without both, raw text
/// without the template. The reason is kept until one of them is needed.
#[derive(Debug, Clone, Default)]
pub struct Text {
    tokenizer: Option<Result<Arc<Tokenizer>, Arc<TextError>>>,
    chat: Option<Result<ChatFormat, Arc<TextError>>>,
    end_ids: Vec<TokenId>,
}

impl Text {
    /// A tokenizer and a chat format of one's own.
    pub fn new(tokenizer: Option<Arc<Tokenizer>>, chat: Option<ChatFormat>) -> Text {
        Text { tokenizer: tokenizer.map(Ok), chat: chat.map(Ok), end_ids: Vec::new() }
    }

    /// The same with another chat template, in Jinja, in place of the checkpoint's own.
    ///
    /// # Errors
    ///
    /// * [`TextError::TemplateSyntax`] with the line that does not parse;
    /// * [`TextError::Unusable`] as [`Text::check_tokenizer`].
    pub fn with_template(self, source: &str) -> Result<Text, TextError> {
        self.check_tokenizer()?;
        let Some(Ok(tokenizer)) = &self.tokenizer else { return Ok(self) };
        let chat = chat_of(tokenizer, source, &self.end_ids)?;
        Ok(Text { chat: Some(Ok(chat)), ..self })
    }

    /// The same with a variable of the chat template ([`ChatTemplate::with_variable`]).
    #[must_use]
    pub fn with_variable(self, name: &str, value: TemplateValue) -> Text {
        let chat = self.chat.map(|chat| chat.map(|chat| chat.with_variable(name, value)));
        Text { chat, ..self }
    }

    /// The tokenizer; none in a checkpoint that has only weights, or if [`Text::check_tokenizer`] fails.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()?.as_deref().ok()
    }

    /// The tokenizer with the chat template; none in a checkpoint without a template, or if [`Text::check_chat`]
    /// fails.
    pub fn chat(&self) -> Option<&ChatFormat> {
        self.chat.as_ref()?.as_ref().ok()
    }

    /// Whether the checkpoint's tokenizer can be used; `Ok` if it has none.
    ///
    /// # Errors
    ///
    /// * [`TextError::Unusable`] with the reason: a file that cannot be read, or a damaged or unknown tokenizer.
    pub fn check_tokenizer(&self) -> Result<(), TextError> {
        fault(self.tokenizer.as_ref())
    }

    /// Whether the checkpoint's chat template can be used; `Ok` if it has none.
    ///
    /// # Errors
    ///
    /// * [`TextError::Unusable`] with the reason: that of [`Text::check_tokenizer`], or a template that does not
    ///   compile.
    pub fn check_chat(&self) -> Result<(), TextError> {
        fault(self.chat.as_ref())
    }

    /// The tokens that end a text or a reply, in ascending order: those that the checkpoint's files name, and the
    /// one that closes a turn in the chat template.
    pub fn end_tokens(&self) -> Vec<TokenId> {
        let named = self.end_ids.iter().copied().chain(self.tokenizer().and_then(Tokenizer::eos));
        let closing = self.chat().map_or(&[][..], ChatFormat::end_of_turn);
        let all: BTreeSet<TokenId> = named.chain(closing.iter().copied()).collect();
        all.into_iter().collect()
    }
}

fn fault<T>(part: Option<&Result<T, Arc<TextError>>>) -> Result<(), TextError> {
    match part {
        Some(Err(fault)) => Err(TextError::Unusable(Arc::clone(fault))),
        _ => Ok(()),
    }
}

/// Reads the tokenizer and the chat template of `checkpoint`, without touching a weight.
///
/// A GGUF file has both in its metadata. A directory has a `tokenizer.json`; a
/// `tokenizer_config.json` that names the tokens at the beginning and end of a text; and a template
/// in the latter or in `chat_template.jinja`. A checkpoint without a tokenizer is not an error, and one that
/// cannot be used is one only where it is needed: see [`Text::check_tokenizer`] and [`Text::check_chat`].
pub fn load(checkpoint: &Checkpoint) -> Text {
    let parts = match checkpoint.gguf() {
        Some(gguf) => from_gguf(gguf),
        None => from_directory(checkpoint),
    };
    let Parts { tokenizer, template, end_ids } = match parts {
        Ok(Some(parts)) => parts,
        Ok(None) => return Text::default(),
        Err(fault) => {
            let fault = Arc::new(fault);
            return Text {
                tokenizer: Some(Err(Arc::clone(&fault))),
                chat: Some(Err(fault)),
                end_ids: Vec::new(),
            };
        }
    };
    let tokenizer = Arc::new(tokenizer);
    let chat = template
        .and_then(|template| template.map(|source| chat_of(&tokenizer, &source, &end_ids)).transpose());
    let chat = chat.map_err(Arc::new).transpose();
    Text { tokenizer: Some(Ok(tokenizer)), chat, end_ids }
}

/// The chat format of a tokenizer with the template `source`.
fn chat_of(tokenizer: &Arc<Tokenizer>, source: &str, end_ids: &[TokenId]) -> Result<ChatFormat, TextError> {
    let text_of = |id: Option<TokenId>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    let template = ChatTemplate::compile(source, &text_of(tokenizer.bos()), &text_of(tokenizer.eos()))?;
    Ok(ChatFormat::new(Arc::clone(tokenizer), template, end_ids))
}

/// The parts that are common to both kinds of checkpoint.
struct Parts {
    tokenizer: Tokenizer,
    template: Result<Option<String>, TextError>,
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
        merges: strings("merges")?.map(<[String]>::to_vec),
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
    let template = gguf.string("tokenizer.chat_template").map_err(unreadable);
    let template = template.map(|template| template.map(str::to_owned));
    let tokenizer = Tokenizer::from_vocab(vocab)?;
    Ok(Some(Parts { tokenizer, template, end_ids }))
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
    // A null means that there is none, whatever the configuration copied from another model.
    let bos = match settings.get("bos_token") {
        Some(Value::Null) => tokenizer.bos(),
        _ => named("bos_token").or(tokenizer.bos()).or(bos_ids.first().copied()),
    };
    let eos = named("eos_token").or(end_ids.first().copied());
    let add_bos = settings["add_bos_token"].as_bool().unwrap_or(tokenizer.add_bos());

    let template = match checkpoint.file_beside("chat_template.jinja") {
        Some(path) => crate::file::read_text(&path).map(Some).map_err(TextError::io("read", path)),
        None => Ok(template_of(&settings["chat_template"])),
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
