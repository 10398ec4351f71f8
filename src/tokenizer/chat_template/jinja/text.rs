//! Text that knows which of its characters come from a message.
//!
//! A template sees plain text: nothing is added to it, and two texts with the same characters are equal. The origin
//! of each character is kept beside them, through every operation: a part of a message is a part of a message, also
//! after it was cut, changed to upper case or joined with other text.

use std::ops::Range;
use std::sync::Arc;

/// Who wrote a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) enum Origin {
    /// The template, or the engine.
    Template,
    /// The role of a message.
    Role,
    /// The content of a message.
    Content,
}

/// The origin of all bytes up to `end`, from the end of the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    end: usize,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Origins {
    All(Origin),
    /// At least two runs; the last ends where the text ends.
    Runs(Arc<[Run]>),
}

/// A text with the origin of each of its characters.
#[derive(Debug, Clone)]
pub(in super::super::super) struct Text {
    text: Arc<str>,
    origins: Origins,
    /// Whether it counts as HTML: see [`Text::is_safe`].
    safe: bool,
}

impl Text {
    pub fn new(text: &str, origin: Origin) -> Text {
        Text { text: text.into(), origins: Origins::All(origin), safe: false }
    }

    /// Text that the template or the engine wrote.
    pub fn own(text: &str) -> Text {
        Text::new(text, Origin::Template)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The bytes in `range`, which begins and ends between characters.
    pub fn slice(&self, range: Range<usize>) -> Text {
        if range == (0..self.len()) {
            return self.clone();
        }
        let part = match self.origins {
            Origins::All(origin) => Text::new(&self.text[range], origin),
            Origins::Runs(_) => {
                let mut part = Builder::default();
                part.push_part(self, range);
                part.finish()
            }
        };
        Text { safe: self.safe, ..part }
    }

    /// Whether the text counts as HTML that is ready to be shown: Jinja's `Markup`. What is added to it, or filled into
    /// it, is escaped first. It keeps the mark when it is cut or changed by a method. It loses the mark where Jinja
    /// writes it into other text, such as the output.
    pub fn is_safe(&self) -> bool {
        self.safe
    }

    /// The same text, as HTML that is ready to be shown or as plain text.
    pub fn marked(self, safe: bool) -> Text {
        Text { safe, ..self }
    }

    /// The text as HTML, with escapes unless it is HTML already.
    pub fn escaped(&self) -> Text {
        if self.safe {
            return self.clone();
        }
        let escaped = self.map_chars(|letter, written| match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '\'' => written.push_str("&#39;"),
            '"' => written.push_str("&#34;"),
            other => written.push(other),
        });
        escaped.marked(true)
    }

    /// `other` as it is added to this text or filled into it: with escapes if this text is HTML.
    pub fn fitted(&self, other: Text) -> Text {
        if self.safe { other.escaped() } else { other }
    }

    /// This text, and `next` behind it. If one of them is HTML, so is the whole.
    pub fn plus(&self, next: &Text) -> Text {
        let safe = self.safe || next.safe;
        let mut whole = Builder::default();
        for part in [self, next] {
            if safe { whole.push(&part.escaped()) } else { whole.push(part) }
        }
        whole.finish().marked(safe)
    }

    /// The origin of the whole text: a message's if any part of it is.
    pub fn origin(&self) -> Origin {
        let origins = || self.pieces().map(|(_, origin)| origin);
        [Origin::Content, Origin::Role]
            .into_iter()
            .find(|wanted| origins().any(|origin| origin == *wanted))
            .unwrap_or(Origin::Template)
    }

    /// The pieces of one origin, in their order.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, Origin)> {
        self.pieces_in(0..self.len()).map(|(range, origin)| (&self.text[range], origin))
    }

    /// The parts of `range` of one origin.
    pub fn pieces_in(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, Origin)> {
        let (all, runs) = match &self.origins {
            Origins::All(origin) => (Some(Run { end: self.len(), origin: *origin }), &[][..]),
            Origins::Runs(runs) => {
                let first = runs.partition_point(|run| run.end <= range.start);
                (None, &runs[first..])
            }
        };
        let mut start = range.start;
        all.into_iter().chain(runs.iter().copied()).map_while(move |run| {
            let end = run.end.min(range.end);
            let piece = (start < end).then_some((start..end, run.origin));
            start = end;
            piece
        })
    }

    /// Changes every character by `change`, which writes what stands for it.
    pub fn map_chars(&self, mut change: impl FnMut(char, &mut String)) -> Text {
        let mut result = Builder::default();
        let mut written = String::new();
        for (piece, origin) in self.pieces() {
            written.clear();
            piece.chars().for_each(|letter| change(letter, &mut written));
            result.push_str(&written, origin);
        }
        result.finish()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.text == other.text
    }
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Builder {
    text: String,
    runs: Vec<Run>,
}

impl Builder {
    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn push_str(&mut self, text: &str, origin: Origin) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        let end = self.text.len();
        match self.runs.last_mut() {
            Some(run) if run.origin == origin => run.end = end,
            _ => self.runs.push(Run { end, origin }),
        }
    }

    /// Text that the template or the engine wrote.
    pub fn push_own(&mut self, text: &str) {
        self.push_str(text, Origin::Template);
    }

    pub fn push(&mut self, text: &Text) {
        self.push_part(text, 0..text.len());
    }

    pub fn push_part(&mut self, text: &Text, range: Range<usize>) {
        for (range, origin) in text.pieces_in(range) {
            self.push_str(&text.text[range], origin);
        }
    }

    /// `count` times `letter`.
    pub fn fill(&mut self, letter: &Text, count: usize) {
        match letter.origins {
            Origins::All(origin) => self.push_str(&letter.text.repeat(count), origin),
            Origins::Runs(_) => (0..count).for_each(|_| self.push(letter)),
        }
    }

    pub fn finish(self) -> Text {
        let origins = match self.runs[..] {
            [] => Origins::All(Origin::Template),
            [run] => Origins::All(run.origin),
            _ => Origins::Runs(self.runs.into()),
        };
        Text { text: self.text.into(), origins, safe: false }
    }
}
