//! The vocabulary in a GGUF file's metadata: plain lists, checked before use.

use super::pieces::MAX_TOKENS;
use super::{TextError, TokenId};

/// A vocabulary as in GGUF metadata (`tokenizer.ggml.*`), before it becomes a tokenizer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocab {
    /// `model`: `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    /// `pre`: the name of the pre-tokenizer; only `gpt2` has one. Empty means `default`, with a note.
    pub pre: String,
    /// `tokens`: the spelling of each id.
    pub tokens: Vec<String>,
    /// `scores`: one per token, larger merges first; `llama` needs them.
    pub scores: Option<Vec<f32>>,
    /// `token_type`: one per token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
    /// 6 byte. All are normal when absent, with a note.
    pub token_types: Option<Vec<i32>>,
    /// `merges`: two spellings with a space between them, the first to apply first; `gpt2` needs them.
    pub merges: Option<Vec<String>>,
    /// `bos_token_id`.
    pub bos: Option<TokenId>,
    /// `eos_token_id`.
    pub eos: Option<TokenId>,
    /// `unknown_token_id`.
    pub unk: Option<TokenId>,
    /// `add_bos_token`; absent, the model and pre-tokenizer decide.
    pub add_bos: Option<bool>,
    /// `add_space_prefix`; absent, `llama` does and `gpt2` does not.
    pub add_space_prefix: Option<bool>,
}

/// Tokens that end a turn or a text wherever they occur. A converter that marks one of them as plain text is
/// mistaken: llama.cpp overrides its type too.
const ENDINGS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<EOT>",
    "<｜end▁of▁sentence｜>",
];

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl TokenType {
    /// Whether the token is special. Control tokens and the unknown token are not text.
    pub(super) fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

impl Vocab {
    /// The values that the file leaves out, and those used instead, by llama.cpp's convention.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.model == "gpt2" && self.pre.is_empty() {
            notes.push(
                "the model does not name its pre-tokenizer (tokenizer.ggml.pre); `default` is used, and texts may \
                 be cut otherwise than in training"
                    .to_owned(),
            );
        }
        if self.token_types.is_none() {
            notes.push(
                "the model does not give the types of its tokens (tokenizer.ggml.token_type); none but known ends of turns and texts counts as special"
                    .to_owned(),
            );
        }
        let plain = self.tokens.iter().zip(self.token_types.iter().flatten());
        for (token, _) in
            plain.filter(|(token, kind)| **kind != 3 && **kind != 2 && ENDINGS.contains(&token.as_str()))
        {
            notes.push(format!("the model does not mark {token} as a control token; it counts as one"));
        }
        let unnamed: Vec<&str> = [("bos", self.bos), ("eos", self.eos)]
            .into_iter()
            .filter_map(|(name, id)| id.is_none().then_some(name))
            .collect();
        if self.model == "llama" && !unnamed.is_empty() {
            notes.push(format!(
                "the model does not name its {} token; the id of the first LLaMA vocabulary is used",
                unnamed.join(" and its ")
            ));
        }
        notes
    }

    /// Checks that the lists agree with each other and returns the type of every token.
    pub(super) fn check(&self) -> Result<Vec<TokenType>, TextError> {
        let count = self.tokens.len();
        if count == 0 {
            return Err(malformed("tokens", "the list is empty".to_owned()));
        }
        if count > MAX_TOKENS {
            let rule = format!("the list holds {count} tokens, more than {MAX_TOKENS}");
            return Err(malformed("tokens", rule));
        }
        if let Some(scores) = self.scores.as_ref().filter(|list| list.len() != count) {
            let rule = format!("{} scores for {count} tokens", scores.len());
            return Err(malformed("scores", rule));
        }
        for (key, id) in
            [("bos_token_id", self.bos), ("eos_token_id", self.eos), ("unknown_token_id", self.unk)]
        {
            if let Some(id) = id.filter(|&id| id as usize >= count) {
                let rule = format!("id {id} is outside the vocabulary of {count} tokens");
                return Err(malformed(key, rule));
            }
        }
        let Some(types) = &self.token_types else {
            let ends = |token: &String| ENDINGS.contains(&token.as_str());
            let kind = |token| if ends(token) { TokenType::Control } else { TokenType::Normal };
            return Ok(self.tokens.iter().map(kind).collect());
        };
        if types.len() != count {
            let rule = format!("{} types for {count} tokens", types.len());
            return Err(malformed("token_type", rule));
        }
        let numbered = types.iter().enumerate();
        numbered
            .map(|(index, number)| match number {
                // Some vocabularies of plain text have a token of this spelling, so its type counts.
                4 if self.tokens[index] == "</s>" => Ok(TokenType::Control),
                0 | 1 | 4 | 5 if ENDINGS.contains(&self.tokens[index].as_str()) => Ok(TokenType::Control),
                // Some converters write 0, "undefined", for padding tokens.
                0 | 5 => Ok(TokenType::Unused),
                1 => Ok(TokenType::Normal),
                2 => Ok(TokenType::Unknown),
                3 => Ok(TokenType::Control),
                4 => Ok(TokenType::UserDefined),
                6 => Ok(TokenType::Byte),
                other => {
                    let rule = format!("type {other} of token {index} is not one of 0 to 6");
                    Err(malformed("token_type", rule))
                }
            })
            .collect()
    }
}

/// A rule of the list `key` is broken.
pub(super) fn malformed(key: &str, rule: String) -> TextError {
    TextError::Malformed { origin: format!("tokenizer.ggml.{key}"), rule }
}
