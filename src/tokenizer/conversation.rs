//! Conversations: the turns so far, and those that fit into the context.

use super::{Message, TokenId};

/// A conversation of turns, with an optional system message in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    system: Option<String>,
    turns: Vec<Message>,
}

impl Conversation {
    /// Makes a conversation with a system message, or with the template's own.
    pub fn new(system: Option<String>) -> Conversation {
        Conversation { system, turns: Vec::new() }
    }

    /// Replaces the system message and removes all turns.
    pub fn set_system(&mut self, system: Option<String>) {
        *self = Conversation::new(system);
    }

    /// Removes all turns.
    pub fn reset(&mut self) {
        self.turns.clear();
    }

    /// Adds a turn.
    pub fn say(&mut self, role: &str, content: impl Into<String>) {
        self.turns.push(Message::new(role, content));
    }

    /// Removes the last reply; false if there is none.
    pub fn take_back_reply(&mut self) -> bool {
        let replied = self.turns.last().is_some_and(|turn| turn.role == "assistant");
        if replied {
            self.turns.pop();
        }
        replied
    }

    /// Removes the user's last message after its reply failed.
    pub fn take_back_question(&mut self) {
        self.turns.pop();
    }

    /// The user's last message.
    pub fn question(&self) -> &str {
        self.turns.iter().rev().find(|turn| turn.role == "user").map_or("", |turn| &turn.content)
    }

    /// The system message, if any, and the turns.
    pub fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
        system.chain(self.turns.iter().cloned()).collect()
    }

    /// Token ids that `encode` makes from the conversation's messages. The oldest turns are dropped, each
    /// question with its reply, until the rest fits in `capacity` tokens. Also returns the number of
    /// dropped messages.
    ///
    /// # Errors
    ///
    /// The errors of `encode`.
    pub fn encode<E>(
        &mut self,
        capacity: usize,
        encode: impl Fn(&[Message]) -> Result<Vec<TokenId>, E>,
    ) -> Result<(Vec<TokenId>, usize), E> {
        let mut dropped = 0;
        loop {
            let ids = encode(&self.messages())?;
            // The last question always stays: if it is too long, the generator's error reports by how much.
            if ids.len() <= capacity || self.turns.len() < 3 {
                return Ok((ids, dropped));
            }
            self.turns.drain(..2);
            dropped += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One token for each letter.
    fn letters(messages: &[Message]) -> Result<Vec<TokenId>, ()> {
        Ok(messages.iter().flat_map(|message| message.content.chars().map(u32::from)).collect())
    }

    #[test]
    fn oldest_turns_go_first_and_the_system_message_stays() {
        let mut conversation = Conversation::new(Some("ss".to_owned()));
        for (role, text) in
            [("user", "aaa"), ("assistant", "bbb"), ("user", "cc"), ("assistant", "dd"), ("user", "e")]
        {
            conversation.say(role, text);
        }
        let spelt = |ids: Vec<TokenId>| ids.into_iter().filter_map(char::from_u32).collect::<String>();
        let (ids, dropped) = conversation.encode(13, letters).expect("letters never fail");
        assert_eq!((spelt(ids).as_str(), dropped), ("ssaaabbbccdde", 0));
        let (ids, dropped) = conversation.encode(12, letters).expect("letters never fail");
        assert_eq!((spelt(ids).as_str(), dropped), ("ssccdde", 2));
        let (ids, dropped) = conversation.encode(1, letters).expect("letters never fail");
        assert_eq!((spelt(ids).as_str(), dropped), ("sse", 2), "the last question stays");
        assert_eq!(conversation.messages().len(), 2);
    }
}
