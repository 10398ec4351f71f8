//! A tokenizer in the steps of the `tokenizers` library: added tokens, normalizer, pre-tokenizer, merges.
//!
//! Merging is the library's. The steps before it are this crate's own, because those of the library have no
//! bounds on time and memory, and files come from outside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};
use tokenizers::Model as _;
use tokenizers::models::bpe::BPE;

use super::added::{Added, Part};
use super::cuts::Cuts;
use super::normalizer::Normalizer;
use super::pattern::Meter;
use super::{Specials, TextError, TokenId};

/// The steps of an encoding.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) model: BPE,
    /// The added tokens that are matched in the text as it is.
    pub(super) added: Added,
    /// Those that are matched in the normalized text.
    pub(super) added_normalized: Added,
    pub(super) normalizer: Normalizer,
    pub(super) cuts: Cuts,
    /// All added tokens, by id.
    pub(super) listed: Vec<ListedToken>,
    /// The parts of a `tokenizer.json` that are neither the model nor the added tokens.
    pub(super) components: Value,
}

/// An added token as a file lists it.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
pub(super) struct ListedToken {
    pub(super) id: TokenId,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    /// Whether it is matched in the normalized text. Without this field, all tokens except special ones are.
    #[serde(default)]
    pub(super) normalized: Option<bool>,
    #[serde(default)]
    pub(super) special: bool,
}

impl Library {
    /// Finds the added tokens, then applies normalizer, pre-tokenizer and model to the text between them.
    /// `mark` prevents matches in the first step and is removed before the pre-tokenizer.
    pub(super) fn encode(
        &self,
        text: &str,
        specials: Specials,
        mark: Option<char>,
    ) -> Result<Vec<TokenId>, TextError> {
        guarded(|| self.run(text, specials, mark))
    }

    fn run(&self, text: &str, specials: Specials, mark: Option<char>) -> Result<Vec<TokenId>, TextError> {
        let meter = Meter::start(text.len());
        let mut ids = Vec::new();
        let mut first = true;
        for part in self.added.split(text, specials)? {
            let text = match part {
                Part::Token(id) => {
                    ids.push(id);
                    first = false;
                    continue;
                }
                Part::Text(text) => self.normalizer.run(text, &meter)?,
            };
            for part in self.added_normalized.split(&text, specials)? {
                match part {
                    Part::Token(id) => ids.push(id),
                    Part::Text(text) => {
                        let unmarked = mark.map(|mark| text.replace(mark, ""));
                        let text = unmarked.as_deref().unwrap_or(text);
                        self.cuts.run(text, first, &meter, &mut |word| self.merge(word, &mut ids))?;
                    }
                }
                first = false;
            }
        }
        Ok(ids)
    }

    fn merge(&self, word: &str, ids: &mut Vec<TokenId>) -> Result<(), TextError> {
        if word.is_empty() {
            return Ok(());
        }
        let tokens =
            self.model.tokenize(word).map_err(|error| TextError::Encode { reason: error.to_string() })?;
        ids.extend(tokens.iter().map(|token| token.id));
        Ok(())
    }

    pub(super) fn token_text(&self, id: TokenId) -> Option<String> {
        let listed = self.listed.iter().find(|token| token.id == id);
        listed.map(|token| token.content.clone()).or_else(|| self.model.id_to_token(id))
    }

    pub(super) fn token_id(&self, text: &str) -> Option<TokenId> {
        let listed = self.listed.iter().find(|token| token.content == text);
        listed.map(|token| token.id).or_else(|| self.model.token_to_id(text))
    }

    pub(super) fn is_added(&self, id: TokenId) -> bool {
        self.listed.iter().any(|token| token.id == id)
    }

    pub(super) fn added(&self) -> Vec<(String, bool)> {
        self.listed.iter().map(|token| (token.content.clone(), token.special)).collect()
    }

    pub(super) fn to_json(&self) -> Result<String, TextError> {
        let written = || {
            let mut file = json!({"version": "1.0", "truncation": null, "padding": null});
            file["added_tokens"] = serde_json::to_value(&self.listed)?;
            for key in COMPONENTS {
                file[*key] = self.components[*key].clone();
            }
            file["model"] = serde_json::to_value(&self.model)?;
            serde_json::to_string(&file)
        };
        written().map_err(|error| TextError::Encode {
            reason: format!("the tokenizer cannot be written as json: {error}"),
        })
    }
}

/// The parts of a `tokenizer.json` that say how a text is taken apart and put together.
pub(super) const COMPONENTS: &[&str] = &["normalizer", "pre_tokenizer", "post_processor", "decoder"];

/// The message for a panic of the library.
const UNFORESEEN: &str =
    "the tokenizer's rules are broken in a way that was not foreseen; use another tokenizer";

/// Runs `work`, in which the library may meet a text that it cannot handle. Everything is checked before, so this
/// is the last defence: a panic becomes an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, TextError>) -> Result<T, TextError> {
    let caught = catch_unwind(AssertUnwindSafe(work));
    caught.unwrap_or_else(|_| Err(TextError::Encode { reason: UNFORESEEN.to_owned() }))
}

/// As [`guarded`], for the reading of the file `origin`.
pub(super) fn guarded_reading<T>(
    origin: &str,
    work: impl FnOnce() -> Result<T, TextError>,
) -> Result<T, TextError> {
    let caught = catch_unwind(AssertUnwindSafe(work));
    let unforeseen = || TextError::Malformed { origin: origin.to_owned(), rule: UNFORESEEN.to_owned() };
    caught.unwrap_or_else(|_| Err(unforeseen()))
}
