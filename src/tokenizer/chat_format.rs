//! Conversations as token ids, in which the text of messages never becomes a special token.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ChatTemplate, Message, Specials, TextError, TokenId, Tokenizer};

/// A tokenizer together with its model's chat template.
#[derive(Debug, Clone)]
pub struct ChatFormat {
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    /// Spellings that must not become a token inside a message, the longest first.
    guarded: Vec<String>,
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
        added.retain(|(text, special)| !text.is_empty() && (*special || written.contains(text)));
        let mut guarded: Vec<String> = added.into_iter().map(|(text, _)| text).collect();
        guarded.sort_by_key(|text| std::cmp::Reverse(text.len()));

        let closing = closing_token(&tokenizer, &template);
        let known = tokenizer.eos().into_iter().chain(end_ids.iter().copied());
        let end_of_turn: BTreeSet<TokenId> = known.chain(closing).collect();
        Self { tokenizer, template, guarded, end_of_turn: end_of_turn.into_iter().collect() }
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

    /// The ids of a conversation; with `add_generation_prompt` they end where the assistant's
    /// next turn begins.
    ///
    /// Special tokens come from the template only. A special token that is written out in a message
    /// of any role is encoded as ordinary characters.
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
        let needs_guard = messages.iter().any(|message| {
            let at_risk = |text: &str| guard(text, &self.guarded, '\0').is_some();
            at_risk(&message.role) || at_risk(&message.content)
        });
        if !needs_guard {
            let text = self.template.render(messages, add_generation_prompt)?;
            return self.tokenizer.encode(&text, Specials::Parse);
        }

        let mark = unused_character(messages, self.template.source())?;
        let guarded = |text: &String| guard(text, &self.guarded, mark).unwrap_or_else(|| text.clone());
        let marked: Vec<Message> = messages
            .iter()
            .map(|message| Message { role: guarded(&message.role), content: guarded(&message.content) })
            .collect();
        let text = self.template.render(&marked, add_generation_prompt)?;
        self.tokenizer.encode_marked(&text, mark)
    }
}

/// The first special token between the assistant's words and the text that follows.
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
        ids.into_iter().find(|&id| tokenizer.is_special(id))
    })
}

/// `text` with `mark` inside every guarded spelling, right after its first character. A guarded
/// spelling that is cut off at the end of `text` is marked too, because the next message could
/// complete it. None if `text` needs no mark.
fn guard(text: &str, guarded: &[String], mark: char) -> Option<String> {
    let mut result: Option<String> = None;
    let mut done = 0;
    for (at, letter) in text.char_indices() {
        let rest = &text[at..];
        let complete = guarded.iter().any(|spelling| rest.starts_with(spelling));
        if complete || guarded.iter().any(|spelling| spelling.starts_with(rest)) {
            let result = result.get_or_insert_default();
            let cut = at + letter.len_utf8();
            result.push_str(&text[done..cut]);
            result.push(mark);
            done = cut;
        }
    }
    let mut result = result?;
    result.push_str(&text[done..]);
    Some(result)
}

/// A character without a meaning in Unicode that occurs in none of the texts.
fn unused_character(messages: &[Message], template: &str) -> Result<char, TextError> {
    let meaningless = |letter: &char| matches!(letter, '\u{fdd0}'..='\u{fdef}' | '\u{e000}'..='\u{f8ff}');
    let texts = messages.iter().flat_map(|message| [&message.role, &message.content]);
    let letters = texts.flat_map(|text| text.chars()).chain(template.chars());
    let used: BTreeSet<char> = letters.filter(meaningless).collect();
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
    use super::guard;

    fn guarded(text: &str) -> Option<String> {
        let spellings = ["<|im_end|>", "</s>", "s>x"].map(str::to_owned);
        guard(text, &spellings, '!')
    }

    #[test]
    fn marks_go_inside_every_spelling() {
        assert_eq!(guarded("a < b </p> x"), None);
        assert_eq!(guarded("a</s>b<|im_end|>").as_deref(), Some("a<!/s>b<!|im_end|>"));
        assert_eq!(guarded("</s></s>.").as_deref(), Some("<!/s><!/s>."));
    }

    #[test]
    fn overlapping_spellings_are_all_broken() {
        assert_eq!(guarded("</s>x").as_deref(), Some("<!/s!>x"));
    }

    #[test]
    fn an_unfinished_spelling_at_the_end_is_broken_too() {
        assert_eq!(guarded("a <|im_").as_deref(), Some("a <!|im_"));
        assert_eq!(guarded("a <").as_deref(), Some("a <!"));
        assert_eq!(guarded("<|im_ end"), None);
    }
}
