//! A reward for answering in the language of the question.

use super::{FinishedReply, RewardSource};
use crate::align::AlignError;
use crate::principles::language;

/// The source `language`: 1 for a reply in the language of its prompt, otherwise 0. It is also 0 if a
/// language is unknown. SALMON's paper has such a bonus, but its released code does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanguageMatch;

impl LanguageMatch {
    /// Name of the source.
    pub const NAME: &'static str = "language";
}

impl RewardSource for LanguageMatch {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        let matches = |reply: &FinishedReply<'_>| {
            let asked = language(reply.prompt);
            f64::from(u8::from(asked.is_some() && asked == language(reply.reply)))
        };
        Ok(replies.iter().map(matches).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principles::PromptType;

    #[test]
    fn a_reply_in_another_language_gets_nothing() {
        let reply = |prompt, reply| FinishedReply {
            prompt,
            kind: PromptType::General,
            principles: &[],
            reply,
            tokens: &[],
            ended: true,
        };
        let english = "The river flows through the old town and into the sea.";
        let german = "Der Fluss fließt durch die alte Stadt und dann ins Meer.";
        let found = LanguageMatch.score(&[
            reply("Where does the river go after it has left the town?", english),
            reply("Where does the river go after it has left the town?", german),
            reply("Wohin fließt der Fluss, wenn er die Stadt verlassen hat?", german),
            reply("?", "!"),
        ]);
        assert_eq!(found.expect("it judges any text"), [1.0, 0.0, 1.0, 0.0]);
    }
}
