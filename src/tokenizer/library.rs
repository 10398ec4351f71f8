//! A tokenizer in the steps of the `tokenizers` library: added tokens, normalizer, pre-tokenizer, merges.
//!
//! Merging is the library's. The steps before it are this crate's own, because those of the library have no
//! bounds on time and memory, and files come from outside. So are Unigram models.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::added::{Added, AddedToken, Part};
use super::cuts::Cuts;
use super::model::Model;
use super::normalizer::Normalizer;
use super::pattern::Meter;
use super::{Specials, TextError, TokenId};
use crate::guarded::guarded;

/// The steps of an encoding.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) model: Model,
    /// The added tokens that are matched in the text as it is.
    pub(super) added: Added,
    /// Those that are matched in the normalized text.
    pub(super) added_normalized: Added,
    /// The tokens of `added_normalized`, as the file spells them: chat templates write them so.
    pub(super) added_spelled: Added,
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
    pub(super) fn encode(&self, text: &str, specials: Specials) -> Result<Vec<TokenId>, TextError> {
        caught(|| {
            let mut work = Encoding::start(self, text, None);
            let wanted = |token: &AddedToken| specials == Specials::Parse || !token.special;
            for part in self.added.split(text, wanted)? {
                work.part(part, wanted)?;
            }
            Ok(work.ids)
        })
    }

    /// As [`Library::encode`] with special tokens parsed, for a rendered conversation.
    ///
    /// A guarded token is found only in the text as it is, where the mark breaks those that the template did not
    /// write. The mark is removed before the normalizer, which could delete or change it. What the normalizer or the
    /// model makes out of other text is never a guarded token.
    pub(super) fn encode_chat(&self, text: &str, guard: &Guard) -> Result<Vec<TokenId>, TextError> {
        let is_guarded = |token: &AddedToken| guard.ids.contains(&token.id);
        caught(|| {
            let mut work = Encoding::start(self, text, Some(guard));
            for part in self.added.split(text, |_| true)? {
                let Part::Text(text) = part else {
                    work.part(part, |_| true)?;
                    continue;
                };
                for part in self.added_spelled.split(text, is_guarded)? {
                    let unmarked = match (part, guard.mark) {
                        (Part::Text(text), Some(mark)) => Some(text.replace(mark, "")),
                        _ => None,
                    };
                    let part = unmarked.as_deref().map_or(part, Part::Text);
                    work.part(part, |token| !is_guarded(token))?;
                }
            }
            Ok(work.ids)
        })
    }

    pub(super) fn token_text(&self, id: TokenId) -> Option<String> {
        let listed = self.listed.iter().find(|token| token.id == id);
        listed.map(|token| token.content.clone()).or_else(|| self.model.token_text(id))
    }

    pub(super) fn token_id(&self, text: &str) -> Option<TokenId> {
        let listed = self.listed.iter().find(|token| token.content == text);
        listed.map(|token| token.id).or_else(|| self.model.token_id(text))
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
            file["model"] = self.model.to_json()?;
            serde_json::to_string(&file)
        };
        written().map_err(|error| TextError::Encode {
            reason: format!("the tokenizer cannot be written as json: {error}"),
        })
    }
}

/// An encoding at work.
struct Encoding<'a> {
    library: &'a Library,
    guard: Option<&'a Guard<'a>>,
    meter: Meter,
    ids: Vec<TokenId>,
    /// Whether nothing of the text is encoded yet.
    first: bool,
}

impl<'a> Encoding<'a> {
    fn start(library: &'a Library, text: &str, guard: Option<&'a Guard<'a>>) -> Self {
        Self { library, guard, meter: Meter::start(text.len()), ids: Vec::new(), first: true }
    }

    /// Encodes an added token, or text in which the normalizer may make those added tokens that are `wanted`.
    fn part(&mut self, part: Part<'_>, wanted: impl Fn(&AddedToken) -> bool) -> Result<(), TextError> {
        let library = self.library;
        let text = match part {
            Part::Token(id) => {
                self.ids.push(id);
                self.first = false;
                return Ok(());
            }
            Part::Text(text) => library.normalizer.run(text, &self.meter)?,
        };
        for part in library.added_normalized.split(&text, wanted)? {
            match part {
                Part::Token(id) => self.ids.push(id),
                Part::Text(text) => {
                    let (ids, guard, meter) = (&mut self.ids, self.guard, &self.meter);
                    let mut merge = |word: &str| library.merge(word, guard, meter, ids);
                    library.cuts.run(text, self.first, meter, &mut merge)?;
                }
            }
            self.first = false;
        }
        Ok(())
    }
}

impl Library {
    /// The model's tokens of `word`. One that is guarded is cut after its first character, and its parts are merged
    /// on their own: the model must not give a word the id of a special token that has the same spelling.
    fn merge(
        &self,
        word: &str,
        guard: Option<&Guard<'_>>,
        meter: &Meter,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TextError> {
        if word.is_empty() {
            return Ok(());
        }
        for piece in self.model.tokenize(word, meter)? {
            let is_guarded = guard.is_some_and(|guard| guard.ids.contains(&piece.id));
            let spelled = word.get(piece.range).filter(|_| piece.is_spelled && is_guarded);
            let first = spelled.and_then(|spelled| spelled.chars().next()).map_or(0, char::len_utf8);
            match spelled.filter(|spelled| first < spelled.len()) {
                Some(spelled) => {
                    self.merge(&spelled[..first], guard, meter, ids)?;
                    self.merge(&spelled[first..], guard, meter, ids)?;
                }
                None => ids.push(piece.id),
            }
        }
        Ok(())
    }
}

/// What keeps the text of messages from becoming special tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard<'a> {
    /// The tokens that only the template may write.
    pub(super) ids: &'a HashSet<TokenId>,
    /// The character that breaks their spellings where the template did not write them, if any had to be broken.
    pub(super) mark: Option<char>,
}

/// The parts of a `tokenizer.json` that say how a text is taken apart and put together.
pub(super) const COMPONENTS: &[&str] = &["normalizer", "pre_tokenizer", "post_processor", "decoder"];

/// The message for a panic of the library.
const UNFORESEEN: &str =
    "the tokenizer's rules are broken in a way that was not foreseen; use another tokenizer";

/// Runs `work`, in which the library may meet a text that it cannot handle. Everything is checked before, so this
/// is the last defence: a panic becomes an error.
fn caught<T>(work: impl FnOnce() -> Result<T, TextError>) -> Result<T, TextError> {
    let unforeseen = |message| Err(TextError::Encode { reason: format!("{UNFORESEEN} ({message})") });
    guarded(work).unwrap_or_else(unforeseen)
}

/// As [`caught`], for the reading of the file `origin`.
pub(super) fn caught_reading<T>(
    origin: &str,
    work: impl FnOnce() -> Result<T, TextError>,
) -> Result<T, TextError> {
    guarded(work).unwrap_or_else(|message| {
        let rule = format!("{UNFORESEEN} ({message})");
        Err(TextError::Malformed { origin: origin.to_owned(), rule })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded::is_silent;

    #[test]
    fn a_panic_of_the_library_is_an_error_and_is_not_printed() {
        assert!(caught(|| Ok(is_silent())).expect("no panic"));
        assert!(caught_reading("x", || Ok(is_silent())).expect("no panic"));
        let error = caught::<()>(|| panic!("index 3")).expect_err("a panic").to_string();
        assert!(error.contains("(index 3)"), "{error}");
        let error = caught_reading::<()>("x.json", || panic!("index 3")).expect_err("a panic").to_string();
        assert!(error.contains("x.json") && error.contains("(index 3)"), "{error}");
    }
}
