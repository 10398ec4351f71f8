//! Conversations as token ids, in which the text of messages never becomes a special token.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::chat_template::{Messages, Origin, Text};
use super::library::Guard;
use super::{
    ChatTemplate, Message, ReasoningMarks, ReasoningStream, Specials, TemplateValue, TextError, TokenId,
    Tokenizer,
};

/// A tokenizer together with its model's chat template.
#[derive(Debug, Clone)]
pub struct ChatFormat {
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    /// Spellings that must not become a token inside a message, the longest first.
    guarded: Vec<String>,
    /// Their tokens.
    guarded_ids: Arc<HashSet<TokenId>>,
    end_of_turn: Vec<TokenId>,
}

/// The texts of the probing conversation; no template gives these words a special meaning.
const QUESTION: &str = "quokka question";
const ANSWER: &str = "quokka answer";

impl ChatFormat {
    /// Joins a tokenizer and a template; `end_ids` are the tokens that end a text according to the
    /// model's configuration, besides [`Tokenizer::eos`].
    ///
    /// The template is rendered for a short conversation to find the token that closes the assistant's
    /// turn; a template that refuses this conversation has no such token.
    pub fn new(tokenizer: Arc<Tokenizer>, template: ChatTemplate, end_ids: &[TokenId]) -> Self {
        let mut added = tokenizer.added();
        // Some vocabularies do not mark their turn markers as special, so the template's own text is
        // guarded as well.
        let opening = [Message::new("user", QUESTION)];
        let written = template.render(&opening, true).unwrap_or_default();
        // Tokens for blanks and line ends mark nothing.
        let marks = |text: &str| !text.trim().is_empty() && written.contains(text);
        added.retain(|(text, special)| !text.is_empty() && (*special || marks(text)));
        let mut guarded: Vec<String> = added.into_iter().map(|(text, _)| text).collect();
        guarded.sort_by_key(|text| std::cmp::Reverse(text.len()));

        let guarded_ids = guarded.iter().filter_map(|text| tokenizer.token_id(text)).collect();

        let closing = closing_token(&tokenizer, &template);
        let known = tokenizer.eos().into_iter().chain(end_ids.iter().copied());
        let end_of_turn: BTreeSet<TokenId> = known.chain(closing).collect();
        Self {
            tokenizer,
            template,
            guarded,
            guarded_ids: Arc::new(guarded_ids),
            end_of_turn: end_of_turn.into_iter().collect(),
        }
    }

    /// The same format with another day for templates that write today's date into the prompt: see
    /// [`ChatTemplate::with_date`], which has an example. An app that sets it should use one day for a whole
    /// conversation, or the beginning of the prompt changes and is computed again.
    ///
    /// ```no_run
    /// # fn example(model: &parr::model::Model) -> Result<(), parr::Error> {
    /// if let Some(chat) = model.chat_format() {
    ///     let chat = chat.clone().with_date(2026, 3, 9)?;
    /// #   let _ = chat;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TextError::Date`] if the calendar has no such day, or the year has not four digits.
    pub fn with_date(mut self, year: u16, month: u8, day: u8) -> Result<Self, TextError> {
        self.template = self.template.with_date(year, month, day)?;
        Ok(self)
    }

    /// The same format with a variable of the template: see [`ChatTemplate::with_variable`].
    #[must_use]
    pub fn with_variable(self, name: &str, value: TemplateValue) -> Self {
        // The token that ends a turn may depend on the variable.
        ChatFormat::new(self.tokenizer, self.template.with_variable(name, value), &self.end_of_turn)
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The tokens that end the assistant's turn, in ascending order.
    pub fn end_of_turn(&self) -> &[TokenId] {
        &self.end_of_turn
    }

    /// The marks around the reasoning in the model's replies; none if its template knows none.
    pub fn reasoning_marks(&self) -> Option<ReasoningMarks> {
        ReasoningMarks::of_template(self.template.source())
    }

    /// Separates the reasoning from the answer in the reply to `messages`; none if the template knows no reasoning.
    ///
    /// ```no_run
    /// # fn example(chat: &parr::tokenizer::ChatFormat, pieces: &[&str]) -> Result<(), parr::Error> {
    /// use parr::tokenizer::Message;
    ///
    /// let messages = [Message::new("user", "What is 2+2?")];
    /// if let Some(mut reasoning) = chat.reasoning_stream(&messages)? {
    ///     for piece in pieces {
    ///         print!("{}", reasoning.push(piece).answer);
    ///     }
    ///     print!("{}", reasoning.finish().answer);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::render`] if the template does not accept the conversation.
    pub fn reasoning_stream(&self, messages: &[Message]) -> Result<Option<ReasoningStream>, TextError> {
        let Some(marks) = self.reasoning_marks() else { return Ok(None) };
        let opened = marks.opened_by(&self.template.render(messages, true)?);
        let id = |mark: &str| self.tokenizer.token_id(mark).filter(|&id| self.tokenizer.is_special(id));
        let hidden = [id(marks.open()), id(marks.close())];
        Ok(Some(ReasoningStream::new(marks, opened).with_hidden(hidden)))
    }

    /// The ids of a conversation; with `add_generation_prompt` they end where the assistant's
    /// next turn begins.
    ///
    /// Special tokens come from the template only. A special token that is written out in a message
    /// of any role is encoded as ordinary characters. This holds whatever the template and the tokenizer's normalizer
    /// do with the message, and the template sees the message's plain text. A token that template and message spell together is
    /// ordinary characters too, except where the template writes a role between its own signs, as in `<|user|>`.
    ///
    /// # Errors
    ///
    /// * As [`ChatTemplate::render`] if the template does not accept the conversation.
    /// * [`TextError::Encode`] if the text cannot be encoded.
    pub fn encode_chat(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<TokenId>, TextError> {
        self.encode_messages(Messages::Plain(messages), add_generation_prompt)
    }

    /// As [`ChatFormat::encode_chat`], for messages with other fields than `role` and `content`
    /// ([`ChatTemplate::render_json`]). A special token is ordinary characters in every field.
    ///
    /// # Errors
    ///
    /// * As [`ChatTemplate::render_json`] if the template does not accept the conversation.
    /// * [`TextError::Encode`] if the text cannot be encoded.
    pub fn encode_chat_json(
        &self,
        messages: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<Vec<TokenId>, TextError> {
        self.encode_messages(Messages::Json(messages), add_generation_prompt)
    }

    fn encode_messages(
        &self,
        messages: Messages<'_>,
        add_generation_prompt: bool,
    ) -> Result<Vec<TokenId>, TextError> {
        let text = self.template.render_text(messages, add_generation_prompt)?;
        let breaks = breaks(&text, &self.guarded);
        let ids = &*self.guarded_ids;
        if breaks.is_empty() {
            return self.tokenizer.encode_chat(text.as_str(), &Guard { ids, mark: None });
        }
        let mark = unused_character(text.as_str())?;
        let marked = with_marks(text.as_str(), &breaks, mark);
        self.tokenizer.encode_chat(&marked, &Guard { ids, mark: Some(mark) })
    }
}

/// The first special token between the assistant's words and the text that follows. Some vocabularies do not mark it
/// as special; then it is the first added token that is not white space.
fn closing_token(tokenizer: &Tokenizer, template: &ChatTemplate) -> Option<TokenId> {
    let ended = [Message::new("user", QUESTION), Message::new("assistant", ANSWER)];
    let mut goes_on = ended.to_vec();
    goes_on.push(Message::new("user", QUESTION));
    // Some templates close a turn only when another follows.
    [ended.as_slice(), &goes_on].into_iter().find_map(|messages| {
        let text = template.render(messages, false).ok()?;
        let (_, after) = text.split_once(ANSWER)?;
        let closing = after.split(QUESTION).next()?;
        let ids = tokenizer.encode(closing, Specials::Parse).ok()?;
        let written = |id: TokenId| tokenizer.is_added(id) && !tokenizer.token_shown(id).trim().is_empty();
        let special = ids.iter().copied().find(|&id| tokenizer.is_special(id));
        special.or_else(|| ids.into_iter().find(|&id| written(id)))
    })
}

/// The places in `text` where a guarded spelling must be broken, in ascending order: right after its first character.
///
/// A spelling may become its token only if the template wrote it. Its first and last character are the template's,
/// and so is what stands between them, except for a role: templates write `<|` and a role and `|>`.
fn breaks(text: &Text, guarded: &[String]) -> Vec<usize> {
    let plain = text.as_str();
    let mut breaks = Vec::new();
    // Every spelling that is to be broken has a character of a message in it or at its end.
    let longest = guarded.iter().map(String::len).max().unwrap_or(0);
    // Vocabularies have thousands of special tokens, which begin with a few signs.
    let firsts: BTreeSet<char> = guarded.iter().filter_map(|spelling| spelling.chars().next()).collect();
    let mut done = 0;
    for (given, _) in text.pieces_in(0..plain.len()).filter(|(_, origin)| *origin != Origin::Template) {
        let mut from = given.start.saturating_sub(longest);
        while !plain.is_char_boundary(from) {
            from -= 1;
        }
        let from = from.max(done);
        done = given.end;
        let letters = plain[from..given.end].char_indices().map(|(at, letter)| (from + at, letter));
        for (at, letter) in letters.filter(|(_, letter)| firsts.contains(letter)) {
            let mut taken = guarded.iter().filter(|spelling| plain[at..].starts_with(spelling.as_str()));
            if taken.any(|spelling| !is_the_templates(text, at, at + spelling.len())) {
                breaks.push(at + letter.len_utf8());
            }
        }
    }
    breaks
}

/// Whether the template wrote what stands between the bytes `start` and `end`.
fn is_the_templates(text: &Text, start: usize, end: usize) -> bool {
    let mut pieces = text.pieces_in(start..end).peekable();
    let first = pieces.peek().map(|(_, origin)| *origin);
    let mut last = first;
    for (_, origin) in pieces {
        if origin == Origin::Content {
            return false;
        }
        last = Some(origin);
    }
    first == Some(Origin::Template) && last == Some(Origin::Template)
}

/// `text` with `mark` at `breaks`.
fn with_marks(text: &str, breaks: &[usize], mark: char) -> String {
    let mut result = String::with_capacity(text.len() + breaks.len() * mark.len_utf8());
    let mut done = 0;
    for &at in breaks {
        result.push_str(&text[done..at]);
        result.push(mark);
        done = at;
    }
    result.push_str(&text[done..]);
    result
}

/// A character without a meaning in Unicode that does not occur in `text`.
fn unused_character(text: &str) -> Result<char, TextError> {
    let meaningless = |letter: &char| matches!(letter, '\u{fdd0}'..='\u{fdef}' | '\u{e000}'..='\u{f8ff}');
    let used: BTreeSet<char> = text.chars().filter(meaningless).collect();
    ('\u{fdd0}'..='\u{fdef}').chain('\u{e000}'..='\u{f8ff}').find(|letter| !used.contains(letter)).ok_or_else(
        || TextError::Encode {
            reason: "the messages use every private character, so none is left to mark special \
                     tokens with; leave some out"
                .to_owned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::chat_template::{Origin, Text};
    use super::{breaks, with_marks};

    fn broken(text: &str, origin: Origin) -> String {
        let spellings = ["<|im_end|>", "</s>", "s>x"].map(str::to_owned);
        with_marks(text, &breaks(&Text::new(text, origin), &spellings), '!')
    }

    #[test]
    fn marks_go_inside_every_spelling_of_a_message() {
        for origin in [Origin::Content, Origin::Role] {
            assert_eq!(broken("a < b </p> x <|im_", origin), "a < b </p> x <|im_");
            assert_eq!(broken("a</s>b<|im_end|>", origin), "a<!/s>b<!|im_end|>");
            assert_eq!(broken("</s></s>.", origin), "<!/s><!/s>.");
            assert_eq!(broken("</s>x", origin), "<!/s!>x", "they overlap");
        }
    }

    #[test]
    fn what_the_template_spells_is_left_whole() {
        assert_eq!(broken("a</s>b<|im_end|>", Origin::Template), "a</s>b<|im_end|>");
    }
}
