//! The reasoning of a model that thinks, apart from its answer.

use crate::steer::SteerEvent;
use crate::tokenizer::{ReasoningStream, ReplyParts};

/// Separates the parts of one reply. Without a stream, all text is the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Separator {
    stream: Option<ReasoningStream>,
}

impl Separator {
    pub fn new(stream: Option<ReasoningStream>) -> Separator {
        Separator { stream }
    }

    /// Passes an event on. Text becomes text of the reasoning, of the answer, or of both.
    pub fn pass(&mut self, event: SteerEvent<'_>, on_event: &mut dyn FnMut(SteerEvent<'_>)) {
        match (event, &mut self.stream) {
            (SteerEvent::Text { ask, text }, Some(stream)) => send(ask, &stream.push(text), on_event),
            (event, _) => on_event(event),
        }
    }

    /// Passes on what waited for more text. Called once, at the end of the reply.
    pub fn end(&mut self, on_event: &mut dyn FnMut(SteerEvent<'_>)) {
        if let Some(stream) = self.stream.take() {
            send(0, &stream.finish(), on_event);
        }
    }

    /// The parts of a whole reply.
    pub fn separate(self, reply: &str) -> ReplyParts {
        match self.stream {
            Some(stream) => stream.separate(reply),
            None => ReplyParts { reasoning: String::new(), answer: reply.to_owned() },
        }
    }
}

fn send(ask: usize, parts: &ReplyParts, on_event: &mut dyn FnMut(SteerEvent<'_>)) {
    let ReplyParts { reasoning, answer } = parts;
    if !reasoning.is_empty() {
        on_event(SteerEvent::Reasoning { ask, text: reasoning });
    }
    if !answer.is_empty() {
        on_event(SteerEvent::Text { ask, text: answer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::ReasoningMarks;

    #[test]
    fn reasoning_and_answer_are_different_events() {
        let stream = ReasoningStream::new(ReasoningMarks::new("<think>", "</think>"), false);
        let separator = Separator::new(Some(stream));
        let (mut thought, mut said) = (String::new(), String::new());
        let mut passing = separator.clone();
        let mut on_event = |event: SteerEvent<'_>| match event {
            SteerEvent::Reasoning { text, .. } => thought += text,
            SteerEvent::Text { text, .. } => said += text,
            _ => {}
        };
        let pieces = ["<thi", "nk>\nTwo and two.", "\n</think>\n\nFo", "ur.", " <"];
        for text in pieces {
            passing.pass(SteerEvent::Text { ask: 0, text }, &mut on_event);
        }
        passing.end(&mut on_event);
        assert_eq!((thought.as_str(), said.as_str()), ("Two and two.", "Four. <"));
        let parts = separator.separate(&pieces.concat());
        assert_eq!((parts.reasoning, parts.answer), (thought, said));
        assert_eq!(Separator::default().separate("<think>a").answer, "<think>a");
    }
}
