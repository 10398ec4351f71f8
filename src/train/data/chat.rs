//! Conversations as the model's chat template writes them, with the assistant's tokens marked.
//!
//! Templates do not mark which tokens belong to which message. The encoder therefore renders beginnings of
//! the conversation and compares them with the whole. The assistant's turn starts where the messages before
//! it, rendered with the generation prompt, end: there the model starts to generate. The turn ends with the
//! first end-of-turn token, where generation stops. If these places cannot be found, the row is an error; the
//! encoder never guesses.
//!
//! Where the text on both sides of the start is ordinary, one token may span it: a line break and the blanks
//! that an answer begins with, for instance. Such a token is a target, because it is the answer's first
//! token.

use super::{Encoded, TrainOn, shared};
use crate::tokenizer::{ChatFormat, Message, TextError, TokenId};

/// Encodes a conversation and marks its targets. A turn that begins behind `max_tokens` has no targets.
pub(super) fn encode(
    chat: &ChatFormat,
    messages: &[Message],
    train_on: TrainOn,
    max_tokens: usize,
) -> Result<Encoded, String> {
    let ids = chat.encode_chat(messages, false).map_err(|error| error.to_string())?;
    let mut loss_mask = vec![train_on == TrainOn::All; ids.len()];
    let mut unclosed_turns = 0;
    if train_on != TrainOn::All {
        let mut turns: Vec<usize> =
            (0..messages.len()).filter(|&turn| messages[turn].role == "assistant").collect();
        if turns.is_empty() {
            return Err("no message is the assistant's, so the row has no target; add a reply, or use \
                        train_on = \"all\""
                .to_owned());
        }
        if train_on == TrainOn::LastAssistant {
            turns.drain(..turns.len() - 1);
        }
        let conversation = Conversation { chat, messages, ids: &ids };
        let mut done = 0;
        for turn in turns {
            let start = conversation.start(turn)?;
            if start >= max_tokens.min(ids.len()) {
                break;
            }
            let (end, closed) = conversation.end(turn, start)?;
            if start < done {
                return Err(departs(turn, "starts it before the previous turn ends"));
            }
            loss_mask[start..end].fill(true);
            unclosed_turns += usize::from(!closed);
            done = end;
        }
    }
    Ok(Encoded { ids, loss_mask, unclosed_turns })
}

/// A conversation and its tokens.
struct Conversation<'a> {
    chat: &'a ChatFormat,
    messages: &'a [Message],
    ids: &'a [TokenId],
}

impl Conversation<'_> {
    /// Index of the first token of the assistant's turn.
    fn start(&self, turn: usize) -> Result<usize, String> {
        let before = self.prefix(&self.messages[..turn], true).map_err(|error| refused(turn, &error))?;
        before.ok_or_else(|| departs(turn, "renders the messages before it differently once it follows"))
    }

    /// Index after the last token of the assistant's turn, and whether that last token is an end-of-turn
    /// token.
    fn end(&self, turn: usize, start: usize) -> Result<(usize, bool), String> {
        let ends = |id: &TokenId| self.chat.end_of_turn().binary_search(id).is_ok();
        let close = |limit: usize| {
            let at = self.ids.get(start..limit)?.iter().position(ends)?;
            Some((start + at + 1, true))
        };
        if turn + 1 == self.messages.len() {
            let all = self.ids.len();
            return Ok(close(all).unwrap_or((all, false)));
        }
        let up_to_here =
            self.prefix(&self.messages[..=turn], false).map_err(|error| refused(turn, &error))?;
        if let Some(limit) = up_to_here {
            // Some templates close a turn only when another follows.
            let late = || self.ids.get(limit).filter(|id| ends(id)).map(|_| (limit + 1, true));
            return Ok(close(limit).or_else(late).unwrap_or((limit, false)));
        }
        // Some templates render the last turn differently, with an empty thought for instance. The limit is
        // then the first token that depends on the text of the next message. It is not before the end of this
        // turn.
        let limit = self.before_next_content(turn).map_err(|error| refused(turn, &error))?;
        close(limit).ok_or_else(|| departs(turn, "renders it differently once more messages follow"))
    }

    /// Number of tokens of the whole conversation that `messages` determine. None if the whole does not begin
    /// with them. A token that spans their end is not counted.
    fn prefix(&self, messages: &[Message], generation_prompt: bool) -> Result<Option<usize>, TextError> {
        let ids = self.chat.encode_chat(messages, generation_prompt)?;
        let count = shared(&ids, self.ids);
        if count == ids.len() {
            return Ok(Some(count));
        }
        let template = self.chat.template();
        let beginning = template.render(messages, generation_prompt)?;
        let whole = template.render(self.messages, false)?;
        Ok(whole.starts_with(&beginning).then_some(count))
    }

    /// Number of tokens before the content of the message after `turn`.
    fn before_next_content(&self, turn: usize) -> Result<usize, TextError> {
        let mut messages = self.messages[..turn + 2].to_vec();
        let next = &mut messages[turn + 1];
        let other = if next.content.trim_start().starts_with('x') { 'y' } else { 'x' };
        next.content = other.to_string();
        Ok(shared(&self.chat.encode_chat(&messages, false)?, self.ids))
    }
}

fn refused(turn: usize, error: &TextError) -> String {
    format!("the tokens of the assistant's message {} cannot be found: {error}", turn + 1)
}

fn departs(turn: usize, how: &str) -> String {
    format!(
        "the tokens of the assistant's message {} cannot be found, because the chat template {how}; use \
         train_on = \"last_assistant\" or \"all\", or give ids and loss_mask",
        turn + 1
    )
}
