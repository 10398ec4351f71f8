//! Text to token ids and back, and chat templates.
//!
//! A [`Tokenizer`] comes from a `tokenizer.json` or is rebuilt from the vocabulary inside a GGUF
//! file ([`Vocab`]). A [`ChatFormat`] adds the model's [`ChatTemplate`] and turns a conversation into
//! token ids; the text of a message can never become a special token. A [`Conversation`] holds the turns
//! so far. A [`ReasoningStream`] separates the reasoning in a reply from the answer.

mod added;
mod byte_level;
mod charsmap;
mod chat_format;
mod chat_template;
mod conversation;
mod cuts;
mod decoder;
mod error;
mod json;
mod library;
mod model;
mod named_templates;
mod normalizer;
mod pattern;
mod pieces;
mod pre_tokenizer;
mod reasoning;
mod sentence_piece;
mod stream;
mod unigram;
mod vocab;

use crate::file::AtFile;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use chat_format::ChatFormat;
pub use chat_template::{ChatTemplate, Message, TemplateValue};
pub use conversation::Conversation;
pub use error::TextError;
pub use named_templates::{CHAT_TEMPLATES, named_template};
pub(crate) use pre_tokenizer::names as pre_tokenizer_names;
pub use reasoning::{ReasoningMarks, ReasoningStream, ReplyParts};
pub(crate) use stream::DecodeState;
pub use stream::DecodeStream;
pub use vocab::Vocab;

use library::{Guard, Library};
use pieces::Pieces;
use sentence_piece::SentencePiece;

/// A token's id: its row in the embedding table.
pub type TokenId = u32;

/// How special tokens that are written out in a text are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Specials {
    /// `<|im_end|>` in the text becomes that one token: for text that a program wrote, such as a
    /// rendered chat template.
    Parse,
    /// `<|im_end|>` in the text is ten ordinary characters: for text that a person wrote.
    AsText,
}

/// Turns text into the token ids a model was trained on, and ids back into text.
#[derive(Debug)]
pub struct Tokenizer {
    engine: Engine,
    pieces: Pieces,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
    add_bos: bool,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Engine {
    Library(Box<Library>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; see [`Tokenizer::from_json`].
    ///
    /// # Errors
    ///
    /// * [`TextError::Io`] if the file cannot be read.
    /// * [`TextError::Malformed`] if it has more than 256 MiB.
    /// * Otherwise as [`Tokenizer::from_json`].
    pub fn from_json_file(path: &Path) -> Result<Self, TextError> {
        let origin = path.display().to_string();
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(json::MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(TextError::io("read", path))?;
        if bytes.len() as u64 > json::MAX_FILE_BYTES {
            let rule = format!("it has more than {} bytes", json::MAX_FILE_BYTES);
            return Err(TextError::Malformed { origin, rule });
        }
        json::read(&bytes, &origin)
    }

    /// Reads the bytes of a `tokenizer.json`: byte-level BPE, SentencePiece-style BPE, or Unigram.
    ///
    /// The format does not record which tokens begin and end a text, except for a first token that a
    /// post-processor adds; set them with [`Tokenizer::with_bos`] and [`Tokenizer::with_eos`].
    ///
    /// # Errors
    ///
    /// * [`TextError::Malformed`] if the bytes break the format's rules, or if its rules are senseless or have no
    ///   bounds.
    /// * [`TextError::Unsupported`] for another kind of model, normalizer, pre-tokenizer or decoder.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TextError> {
        json::read(bytes, "tokenizer.json")
    }

    /// Rebuilds the tokenizer from the vocabulary in a GGUF file.
    ///
    /// # Errors
    ///
    /// * [`TextError::Malformed`] if the lists disagree; it names the list and the index.
    /// * [`TextError::Unsupported`] for an unknown model or pre-tokenizer; it lists the known ones.
    pub fn from_vocab(vocab: Vocab) -> Result<Self, TextError> {
        match vocab.model.as_str() {
            "gpt2" => byte_level::build(vocab),
            "llama" => sentence_piece::build(vocab),
            other => Err(TextError::Unsupported {
                what: "tokenizer model",
                name: other.to_owned(),
                known: "gpt2, llama".to_owned(),
            }),
        }
    }

    /// The same tokenizer with `bos` as the token that begins a text; `add` is whether a raw text
    /// should start with it.
    #[must_use]
    pub fn with_bos(mut self, bos: Option<TokenId>, add: bool) -> Self {
        self.bos = bos;
        self.add_bos = add && bos.is_some();
        self
    }

    /// The same tokenizer with `eos` as the token that ends a text.
    #[must_use]
    pub fn with_eos(mut self, eos: Option<TokenId>) -> Self {
        self.eos = eos;
        self
    }

    /// The ids of `text`, with nothing added before or after it.
    ///
    /// Tokens that were added to the vocabulary without being special are always matched as one
    /// token. A byte without a token is left out, as in the reference encoders.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if the tokenizer's own rules fail on this text, take too long or write too much.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<TokenId>, TextError> {
        match &self.engine {
            Engine::Library(library) => library.encode(text, specials),
            Engine::SentencePiece(model) => model.encode(text, specials, None),
        }
    }

    /// The ids of a rendered conversation: special tokens are parsed, but the `guard`'s only where the template wrote
    /// them.
    fn encode_chat(&self, text: &str, guard: &Guard) -> Result<Vec<TokenId>, TextError> {
        match &self.engine {
            Engine::Library(library) => library.encode_chat(text, guard),
            // It has no normalizer, and its merging makes no special token.
            Engine::SentencePiece(model) => model.encode(text, Specials::Parse, guard.mark),
        }
    }

    /// The text of `ids`. Bytes that form no character become U+FFFD. Ids outside the vocabulary give
    /// no text; with `skip_special`, special tokens give none either.
    pub fn decode(&self, ids: &[TokenId], skip_special: bool) -> String {
        let mut stream = DecodeStream::new(self, skip_special, true);
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// Decodes a text that begins with the next token, special tokens left out.
    pub fn stream(&self) -> DecodeStream<'_> {
        DecodeStream::new(self, true, true)
    }

    /// Decodes a text that continues `before`, special tokens left out.
    ///
    /// It differs from [`Tokenizer::stream`] only where the encoder puts a space before a text:
    /// in the middle of a text that space is real and stays.
    pub fn stream_after(&self, before: &[TokenId]) -> DecodeStream<'_> {
        DecodeStream::after(self, before)
    }

    /// The bytes of one token in the middle of a text: often a part of a character only. Empty for an id outside the
    /// vocabulary.
    pub fn token_bytes(&self, id: TokenId) -> &[u8] {
        self.pieces.bytes(id)
    }

    /// The text of one token in the middle of a text, such as ` world` with its space. Bytes that form no character
    /// become U+FFFD. Special tokens are shown as well.
    pub fn token_shown(&self, id: TokenId) -> String {
        let mut stream = DecodeStream::new(self, false, false);
        let mut text = stream.push(id);
        text.push_str(&stream.finish());
        text
    }

    /// How the vocabulary spells `id`, such as `Ġworld`; none for an id outside it.
    pub fn token_text(&self, id: TokenId) -> Option<String> {
        match &self.engine {
            Engine::Library(library) => library.token_text(id),
            Engine::SentencePiece(model) => model.token_text(id),
        }
    }

    /// The id of exactly this spelling in the vocabulary.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        match &self.engine {
            Engine::Library(library) => library.token_id(text),
            Engine::SentencePiece(model) => model.token_id(text),
        }
    }

    /// Whether `id` is a special token: a control token that is not text.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.pieces.is_special(id)
    }

    /// Whether `id` is matched in a text as a whole, before any merging: special tokens and others that were added
    /// to the vocabulary.
    pub fn is_added(&self, id: TokenId) -> bool {
        match &self.engine {
            Engine::Library(library) => library.is_added(id),
            Engine::SentencePiece(model) => model.is_added(id),
        }
    }

    /// One more than the largest id.
    pub fn vocab_len(&self) -> usize {
        self.pieces.len()
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<TokenId> {
        self.bos
    }

    /// The token that ends a text, if the model has one.
    pub fn eos(&self) -> Option<TokenId> {
        self.eos
    }

    /// Whether a raw text, one that no chat template wrote, should begin with [`Tokenizer::bos`].
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// The ids of a raw text, one that no chat template wrote: with [`Tokenizer::bos`] in front if
    /// [`Tokenizer::add_bos`] is set.
    ///
    /// A text that begins with that token gets it twice, as in llama.cpp. [`Tokenizer::begins_with_bos`] reports it,
    /// and a program should print a note: few models were trained on that.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_raw(&self, text: &str, specials: Specials) -> Result<Vec<TokenId>, TextError> {
        let mut ids: Vec<TokenId> = self.bos.filter(|_| self.add_bos).into_iter().collect();
        ids.extend(self.encode(text, specials)?);
        Ok(ids)
    }

    /// Whether `text` is written with the token in front that [`Tokenizer::encode_raw`] puts there anyway.
    pub fn begins_with_bos(&self, text: &str) -> bool {
        let spelling = self.bos.filter(|_| self.add_bos).and_then(|id| self.token_text(id));
        spelling.is_some_and(|spelling| !spelling.is_empty() && text.starts_with(&spelling))
    }

    /// What the model's file leaves out and what is assumed instead, one sentence each; empty for a whole file.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The tokenizer as the bytes of a `tokenizer.json`, for a model directory in Hugging Face's
    /// layout.
    ///
    /// # Errors
    ///
    /// [`TextError::Unsupported`] for a SentencePiece vocabulary from a GGUF file: the format cannot
    /// express its rules exactly.
    pub fn to_json(&self) -> Result<String, TextError> {
        match &self.engine {
            Engine::Library(library) => library.to_json(),
            Engine::SentencePiece(_) => Err(TextError::Unsupported {
                what: "writing tokenizer.json for the tokenizer model",
                name: "llama".to_owned(),
                known: "gpt2".to_owned(),
            }),
        }
    }

    /// The spelling of every added token, and whether it is special.
    fn added(&self) -> Vec<(String, bool)> {
        match &self.engine {
            Engine::Library(library) => library.added(),
            Engine::SentencePiece(model) => model.added(),
        }
    }
}
