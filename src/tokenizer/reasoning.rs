//! The reasoning in a reply, apart from the answer.
//!
//! Models that think write their reasoning in front of the answer, between two marks: Qwen3 and SmolLM3 between
//! `<think>` and `</think>`, Ministral between `[THINK]` and `[/THINK]`. Some templates write the first mark into the
//! prompt, so that the reply has only the second.

use super::TokenId;

/// The marks that models in use have.
const KNOWN: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];

/// The marks around the reasoning in a reply.
///
/// ```
/// use parr::tokenizer::ReasoningMarks;
///
/// let marks = ReasoningMarks::new("<think>", "</think>");
/// let parts = marks.separate("<think>\nTwo and two.\n</think>\n\nFour.", false);
/// assert_eq!((parts.reasoning.as_str(), parts.answer.as_str()), ("Two and two.", "Four."));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReasoningMarks {
    open: String,
    close: String,
}

/// The two parts of a reply, or of one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ReplyParts {
    /// The reasoning, without its marks and the line ends beside them.
    pub reasoning: String,
    /// The answer.
    pub answer: String,
}

impl ReasoningMarks {
    /// Marks of one's own. An empty mark is found nowhere.
    pub fn new(open: impl Into<String>, close: impl Into<String>) -> ReasoningMarks {
        ReasoningMarks { open: open.into(), close: close.into() }
    }

    /// The marks that a chat template knows, from its source; none if it knows none.
    ///
    /// ```
    /// use parr::tokenizer::ReasoningMarks;
    ///
    /// let marks = ReasoningMarks::of_template("{{ m.content.split('</think>')[-1] }}").expect("it knows some");
    /// assert_eq!(marks.open(), "<think>");
    /// assert_eq!(ReasoningMarks::of_template("{{ m.content }}"), None);
    /// ```
    pub fn of_template(source: &str) -> Option<ReasoningMarks> {
        // Some templates only cut the reasoning off, and for this they look for the second mark.
        let found = KNOWN.iter().find(|(_, close)| source.contains(close));
        found.map(|&(open, close)| ReasoningMarks::new(open, close))
    }

    /// The mark at the beginning of the reasoning.
    pub fn open(&self) -> &str {
        &self.open
    }

    /// The mark at the end of the reasoning.
    pub fn close(&self) -> &str {
        &self.close
    }

    /// Whether `prompt` ends with the first mark, so that the reply begins inside the reasoning.
    pub fn opened_by(&self, prompt: &str) -> bool {
        !self.open.is_empty() && prompt.trim_end().ends_with(&self.open)
    }

    /// Separates a whole reply. `opened` is [`ReasoningMarks::opened_by`] of its prompt.
    ///
    /// The reasoning is at the beginning of a reply, so a mark inside the answer is part of the answer. If the second
    /// mark is missing, the whole reply is reasoning and the answer is empty. A reply without reasoning is the answer,
    /// unchanged.
    pub fn separate(&self, reply: &str, opened: bool) -> ReplyParts {
        ReasoningStream::new(self.clone(), opened).separate(reply)
    }
}

/// Separates a reply that arrives in pieces.
///
/// The joined parts of all pieces equal those of [`ReasoningMarks::separate`]. Text that can be the beginning of a mark
/// waits for the next piece.
///
/// ```
/// use parr::tokenizer::{ReasoningMarks, ReasoningStream};
///
/// let mut stream = ReasoningStream::new(ReasoningMarks::new("<think>", "</think>"), false);
/// let mut shown = String::new();
/// for piece in ["<th", "ink>Two and", " two.</thi", "nk>\n\nFo", "ur."] {
///     shown += &stream.push(piece).answer;
/// }
/// assert!(stream.in_answer());
/// shown += &stream.finish().answer;
/// assert_eq!(shown, "Four.");
/// ```
#[derive(Debug, Clone)]
pub struct ReasoningStream {
    marks: ReasoningMarks,
    state: State,
    /// Text of which it is not known yet what it is.
    held: String,
    /// The tokens of the two marks if decoded text leaves them out.
    hidden: [Option<TokenId>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but blanks and a part of the first mark has arrived.
    Start {
        opened: bool,
    },
    /// Line ends behind the first mark are left out.
    ReasoningStart,
    Reasoning,
    /// Line ends behind the second mark are left out.
    AnswerStart,
    Answer,
}

impl ReasoningStream {
    /// A stream for one reply. `opened` is [`ReasoningMarks::opened_by`] of its prompt.
    pub fn new(marks: ReasoningMarks, opened: bool) -> ReasoningStream {
        ReasoningStream { marks, state: State::Start { opened }, held: String::new(), hidden: [None; 2] }
    }

    /// The same stream for marks that are special tokens, which decoded text leaves out; `hidden` are their ids.
    pub(super) fn with_hidden(self, hidden: [Option<TokenId>; 2]) -> ReasoningStream {
        ReasoningStream { hidden, ..self }
    }

    /// Separates a reply that is whole.
    pub(crate) fn separate(mut self, reply: &str) -> ReplyParts {
        let mut parts = self.push(reply);
        let rest = self.finish();
        parts.reasoning += &rest.reasoning;
        parts.answer += &rest.answer;
        parts
    }

    /// Takes the next piece of the reply and returns the text that is certain so far, often empty.
    pub fn push(&mut self, piece: &str) -> ReplyParts {
        self.held.push_str(piece);
        let mut parts = ReplyParts::default();
        loop {
            match self.state {
                State::Start { opened } => {
                    let rest = self.held.trim_start();
                    let open = &self.marks.open;
                    if !open.is_empty() && rest.starts_with(open.as_str()) {
                        self.held = rest[open.len()..].to_owned();
                        self.state = State::ReasoningStart;
                    } else if open.starts_with(rest) {
                        return parts;
                    } else {
                        self.state = if opened { State::ReasoningStart } else { State::Answer };
                    }
                }
                State::ReasoningStart | State::AnswerStart => {
                    self.held = self.held.trim_start_matches('\n').to_owned();
                    if self.held.is_empty() {
                        return parts;
                    }
                    let begins = self.state == State::ReasoningStart;
                    self.state = if begins { State::Reasoning } else { State::Answer };
                }
                State::Reasoning => {
                    let close = &self.marks.close;
                    let found = self.held.find(close.as_str()).filter(|_| !close.is_empty());
                    let certain = match found {
                        Some(at) => at,
                        None => self.held.len() - overlap(&self.held, close),
                    };
                    // Line ends are left out if the second mark follows them.
                    let certain_len = self.held[..certain].trim_end_matches('\n').len();
                    parts.reasoning.push_str(&self.held[..certain_len]);
                    let Some(at) = found else {
                        self.held.drain(..certain_len);
                        return parts;
                    };
                    self.held.drain(..at + close.len());
                    self.state = State::AnswerStart;
                }
                State::Answer => {
                    parts.answer.push_str(&self.held);
                    self.held.clear();
                    return parts;
                }
            }
        }
    }

    /// As [`ReasoningStream::push`], for `text` that the token `id` added. Some models have special tokens as marks,
    /// which decoded text leaves out; a stream of [`ChatFormat::reasoning_stream`] knows these tokens.
    ///
    /// [`ChatFormat::reasoning_stream`]: super::ChatFormat::reasoning_stream
    pub fn push_token(&mut self, id: TokenId, text: &str) -> ReplyParts {
        let marks = [&self.marks.open, &self.marks.close];
        let mark = marks.into_iter().zip(self.hidden).find(|(_, hidden)| *hidden == Some(id));
        match mark {
            Some((mark, _)) if !text.contains(mark.as_str()) => {
                let text = format!("{text}{mark}");
                self.push(&text)
            }
            _ => self.push(text),
        }
    }

    /// Whether the answer has begun: all text that follows belongs to it.
    pub fn in_answer(&self) -> bool {
        matches!(self.state, State::AnswerStart | State::Answer)
    }

    /// Ends the reply and returns the text that waited. If the second mark never came, this is reasoning.
    pub fn finish(self) -> ReplyParts {
        let mut parts = ReplyParts::default();
        match self.state {
            State::Start { opened: false } | State::Answer | State::AnswerStart => parts.answer = self.held,
            State::Start { opened: true } | State::ReasoningStart | State::Reasoning => {
                let begins = self.state != State::Reasoning;
                let text = self.held.trim_end_matches('\n');
                parts.reasoning = if begins { text.trim_start_matches('\n') } else { text }.to_owned();
            }
        }
        parts
    }
}

/// How many bytes at the end of `text` are the beginning of `mark`.
fn overlap(text: &str, mark: &str) -> usize {
    let longest = mark.len().min(text.len());
    let is_beginning = |&len: &usize| text.as_bytes().ends_with(&mark.as_bytes()[..len]);
    // A match of bytes is one of characters, unless it ends inside a character of the mark.
    let whole = |&len: &usize| mark.is_char_boundary(len) && text.is_char_boundary(text.len() - len);
    (1..=longest).rev().filter(whole).find(is_beginning).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn think() -> ReasoningMarks {
        ReasoningMarks::new("<think>", "</think>")
    }

    /// A reply, whether its prompt opened the reasoning, the reasoning, the answer.
    const REPLIES: &[(&str, bool, &str, &str)] = &[
        ("<think>\nA\n</think>\n\nB", false, "A", "B"),
        ("A\n</think>\n\nB", true, "A", "B"),
        ("\nA\n\n B</think>C\n", true, "A\n\n B", "C\n"),
        ("<think>\nA</think>B", true, "A", "B"),
        (" \n<think>A</think> B", false, "A", " B"),
        ("B", false, "", "B"),
        ("\n B\n", false, "", "\n B\n"),
        ("<think>\n\n</think>\n\nB", false, "", "B"),
        ("</think>B", true, "", "B"),
        ("", false, "", ""),
        ("", true, "", ""),
        ("<think>A\n\n", false, "A", ""),
        ("A </thin\n", true, "A </thin", ""),
        ("<thi", false, "", "<thi"),
        ("<thi", true, "<thi", ""),
        ("\n\n", true, "", ""),
        ("<think>A</think>", false, "A", ""),
        ("<think>A</think>\n\n", false, "A", ""),
        ("<think>A\n</think\n</think>B", false, "A\n</think", "B"),
        ("<think>é</think>日本\n", false, "é", "日本\n"),
        ("<think>A<think>B</think>C<think>D</think>E", false, "A<think>B", "C<think>D</think>E"),
        ("Write <think>x</think> so.", false, "", "Write <think>x</think> so."),
        ("<thinking>A</thinking>", false, "", "<thinking>A</thinking>"),
    ];

    #[test]
    fn whole_replies_are_separated() {
        for &(reply, opened, reasoning, answer) in REPLIES {
            let parts = think().separate(reply, opened);
            assert_eq!((parts.reasoning.as_str(), parts.answer.as_str()), (reasoning, answer), "{reply:?}");
        }
    }

    #[test]
    fn pieces_give_the_same_parts_wherever_they_are_cut() {
        for &(reply, opened, reasoning, answer) in REPLIES {
            let places: Vec<usize> = reply.char_indices().map(|(at, _)| at).chain([reply.len()]).collect();
            for &first in &places {
                for &second in places.iter().filter(|second| **second >= first) {
                    let mut stream = ReasoningStream::new(think(), opened);
                    let mut joined = ReplyParts::default();
                    let mut add = |parts: ReplyParts| {
                        joined.reasoning += &parts.reasoning;
                        joined.answer += &parts.answer;
                    };
                    for piece in [&reply[..first], &reply[first..second], &reply[second..]] {
                        add(stream.push(piece));
                    }
                    add(stream.finish());
                    let joined = (joined.reasoning.as_str(), joined.answer.as_str());
                    assert_eq!(joined, (reasoning, answer), "{reply:?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn text_is_passed_on_as_soon_as_it_is_certain() {
        let mut stream = ReasoningStream::new(think(), false);
        let parts = |reasoning: &str, answer: &str| ReplyParts {
            reasoning: reasoning.to_owned(),
            answer: answer.to_owned(),
        };
        for (piece, expected, in_answer) in [
            ("<", parts("", ""), false),
            ("think>\n", parts("", ""), false),
            ("One", parts("One", ""), false),
            (" < two\n", parts(" < two", ""), false),
            ("\nthree <", parts("\n\nthree ", ""), false),
            ("/b>\n", parts("</b>", ""), false),
            ("</think>\n", parts("", ""), true),
            ("\nFour <", parts("", "Four <"), true),
        ] {
            assert_eq!(stream.push(piece), expected, "{piece:?}");
            assert_eq!(stream.in_answer(), in_answer, "{piece:?}");
        }
        let mut plain = ReasoningStream::new(think(), false);
        assert_eq!(plain.push("Hello"), parts("", "Hello"));
        assert!(plain.in_answer());
    }

    #[test]
    fn marks_that_decoding_leaves_out_are_known_by_their_tokens() {
        let marks = ReasoningMarks::new("[THINK]", "[/THINK]");
        let mut stream = ReasoningStream::new(marks, false).with_hidden([Some(34), Some(35)]);
        let mut joined = ReplyParts::default();
        for (id, text) in [(34, ""), (7, "Hm."), (35, ""), (8, "Four"), (9, ".")] {
            let parts = stream.push_token(id, text);
            joined.reasoning += &parts.reasoning;
            joined.answer += &parts.answer;
        }
        assert!(stream.in_answer());
        assert_eq!((joined.reasoning.as_str(), joined.answer.as_str()), ("Hm.", "Four."));
        // A text that shows the marks has them once.
        let mut shown = ReasoningStream::new(ReasoningMarks::new("[THINK]", "[/THINK]"), false)
            .with_hidden([Some(34), Some(35)]);
        assert_eq!(shown.push_token(34, "[THINK]").reasoning, "");
        assert_eq!(shown.push_token(7, "Hm.").reasoning, "Hm.");
    }

    #[test]
    fn a_prompt_opens_the_reasoning_only_at_its_end() {
        let marks = think();
        assert!(marks.opened_by("<|im_start|>assistant\n<think>\n"));
        assert!(!marks.opened_by("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!marks.opened_by("What is <think>?<|im_end|>\n<|im_start|>assistant\n"));
        assert!(!ReasoningMarks::new("", "</think>").opened_by("x"));
    }

    #[test]
    fn empty_marks_are_found_nowhere() {
        let never = ReasoningMarks::new("", "");
        assert_eq!(never.separate("A", false).answer, "A");
        assert_eq!(never.separate("A", true).reasoning, "A");
        let second = ReasoningMarks::new("", "</think>");
        assert_eq!(second.separate("A</think>B", true).answer, "B");
    }
}
