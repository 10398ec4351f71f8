//! What was said so far, and what of it fits into the context.

use crate::tokenizer::{ChatFormat, Message, TextError, TokenId};

/// A conversation of turns, with an optional system message in front.
#[derive(Default)]
pub(super) struct Conversation {
    system: Option<String>,
    turns: Vec<Message>,
}

impl Conversation {
    /// A conversation with a system message, or with the template's own.
    pub(super) fn new(system: Option<String>) -> Conversation {
        Conversation { system, turns: Vec::new() }
    }

    /// Replaces the system message, which makes all that was said void.
    pub(super) fn set_system(&mut self, system: Option<String>) {
        *self = Conversation::new(system);
    }

    /// Forgets the turns.
    pub(super) fn reset(&mut self) {
        self.turns.clear();
    }

    pub(super) fn say(&mut self, role: &str, content: impl Into<String>) {
        self.turns.push(Message::new(role, content));
    }

    /// Takes back the last reply; false if there is none.
    pub(super) fn take_back_reply(&mut self) -> bool {
        let replied = self.turns.last().is_some_and(|turn| turn.role == "assistant");
        if replied {
            self.turns.pop();
        }
        replied
    }

    /// Takes back the last message of the user, after its reply failed.
    pub(super) fn take_back_question(&mut self) {
        self.turns.pop();
    }

    /// The system message, if any, and the turns.
    pub(super) fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
        system.chain(self.turns.iter().cloned()).collect()
    }

    /// Token ids of the conversation up to where the reply begins. Oldest turns are dropped, a
    /// question with its reply, until `capacity` tokens hold the rest; returns how many were.
    ///
    /// # Errors
    ///
    /// * [`TextError`] if the template refuses the messages.
    pub(super) fn encode(
        &mut self,
        format: &ChatFormat,
        capacity: usize,
    ) -> Result<(Vec<TokenId>, usize), TextError> {
        let mut dropped = 0;
        loop {
            let ids = format.encode_chat(&self.messages(), true)?;
            // The last question stays whatever its length: the generator says by how much it is too long.
            if ids.len() <= capacity || self.turns.len() < 3 {
                return Ok((ids, dropped));
            }
            self.turns.drain(..2);
            dropped += 2;
        }
    }
}
