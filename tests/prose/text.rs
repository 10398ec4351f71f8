//! Running text: Markdown, comments of settings files, help pages.

/// Stands for each character of a code span or of a format argument: it is no letter, so no phrase is found there.
const CODE: char = '\u{1}';
/// Stands for each character of an address.
const ADDRESS: char = '\u{2}';

/// A paragraph, a list item, a heading or a string as one line of text.
#[derive(Debug, Default, PartialEq)]
pub struct Passage {
    /// The text, with single spaces, and without what is in code spans and addresses.
    pub text: String,
    /// Where lines of the file begin in `text`, with their numbers.
    marks: Vec<(usize, usize)>,
    /// Whether it has sentences: a row of a table or a line of examples has none.
    sentences: bool,
}

impl Passage {
    /// Number of the line that the character at byte `at` is in.
    pub fn line_at(&self, at: usize) -> usize {
        let line = self.marks.iter().take_while(|(start, _)| *start <= at).last();
        line.map_or(0, |(_, line)| *line)
    }

    fn push(&mut self, number: usize, line: &str) {
        let mut words = line.split_whitespace().peekable();
        if words.peek().is_none() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.marks.push((self.text.len(), number));
        self.text += &words.collect::<Vec<_>>().join(" ");
    }
}

/// Passages of numbered lines, being built.
#[derive(Default)]
struct Builder {
    passages: Vec<Passage>,
    open: Passage,
}

impl Builder {
    /// Ends the open passage.
    fn end(&mut self) {
        let mut passage = std::mem::take(&mut self.open);
        if !passage.text.is_empty() {
            passage.text = without_code(&passage.text);
            self.passages.push(passage);
        }
    }

    /// A passage of one line that has no sentences.
    fn row(&mut self, number: usize, line: &str) {
        self.end();
        self.open.push(number, line);
        self.end();
    }

    /// Goes on with the open passage.
    fn line(&mut self, number: usize, line: &str) {
        self.open.sentences = true;
        self.open.push(number, line);
    }
}

/// Replaces code spans and addresses, byte by byte, so that offsets stay.
fn without_code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let fill = |out: &mut String, with: char, bytes: usize| out.extend(std::iter::repeat_n(with, bytes));
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let span = after.find('`').filter(|_| first == '`').map(|close| (CODE, close + 2));
        let link =
            || rest.strip_prefix("](").and_then(|target| target.find(')')).map(|close| (ADDRESS, close + 3));
        let address = || {
            let address = rest.starts_with("https://") || rest.starts_with("http://");
            let end = rest.find([' ', ')', '>', ',']).unwrap_or(rest.len());
            address.then_some((ADDRESS, end))
        };
        let argument = || {
            let end = after.find(['}', ' ']).filter(|&end| first == '{' && after[end..].starts_with('}'));
            end.map(|end| (CODE, end + 2))
        };
        match span.or_else(link).or_else(address).or_else(argument) {
            Some((with, bytes)) => {
                fill(&mut out, with, bytes);
                rest = &rest[bytes..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

/// Whether a line begins an item of a list.
fn is_item(line: &str) -> bool {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || line.starts_with("+ ")
        || (number.len() < line.len() && (number.starts_with(". ") || number.starts_with(") ")))
}

/// What a comment in a line of code says, if there is one.
fn comment_in_code(line: &str) -> Option<&str> {
    ["#", "//"].iter().find_map(|mark| {
        let at = if line.starts_with(mark) { Some(0) } else { line.find(&format!(" {mark} ")) };
        at.map(|at| line[at..].trim_start().trim_start_matches(mark))
    })
}

/// Passages of lines that are Markdown, given with their numbers.
pub fn paragraphs<'a>(lines: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<Passage> {
    let mut builder = Builder::default();
    let mut in_code = false;
    for (number, line) in lines {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            builder.end();
            in_code = !in_code;
        } else if in_code {
            if let Some(comment) = comment_in_code(line) {
                builder.row(number, comment);
            }
        } else if line.starts_with('|') || line.starts_with('#') {
            builder.row(number, line);
        } else {
            if line.is_empty() || is_item(line) {
                builder.end();
            }
            builder.line(number, line);
        }
    }
    builder.end();
    builder.passages
}

/// Passages of a Markdown file.
pub fn markdown(content: &str) -> Vec<Passage> {
    paragraphs((1..).zip(content.lines()))
}

/// Passages of a TOML file: its comments, and the values of `description`.
pub fn settings(content: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut comment: Vec<(usize, &str)> = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        if let Some(text) = line.trim_start().strip_prefix('#') {
            comment.push((number, text));
            continue;
        }
        passages.extend(paragraphs(comment.drain(..)));
        let (code, trailing) = split_comment(line);
        if let Some(value) = code.trim_start().strip_prefix("description").map(str::trim_start) {
            passages.extend(
                value.strip_prefix('=').map(|value| paragraphs([(number, value)])).unwrap_or_default(),
            );
        }
        passages.extend(trailing.map(|trailing| paragraphs([(number, trailing)])).unwrap_or_default());
    }
    passages.extend(paragraphs(comment));
    passages
}

/// A line of TOML without its comment, and the comment. Strings of several lines are none of ours.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some('"'), '\\') => escaped = !escaped,
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => return (&line[..at], Some(&line[at + 1..])),
            _ => escaped = false,
        }
    }
    (line, None)
}

/// Passages of a help page: paragraphs, and what is said of each option. Lines in columns and lines that show a
/// command have no sentences.
pub fn help(page: &str) -> Vec<Passage> {
    let mut builder = Builder::default();
    let mut before = 0;
    for (number, line) in (1..).zip(page.lines()) {
        let words = line.trim();
        let indent = line.len() - line.trim_start().len();
        if words.starts_with("parr ") || words.starts_with('-') || words.starts_with("Usage:") {
            builder.end();
            // What stands behind the command or the option in a column of its own.
            if let Some((_, said)) = words.split_once("  ") {
                builder.row(number, said);
            }
        } else if words.contains("  ") {
            builder.row(number, words);
        } else {
            if words.is_empty() || indent != before || is_item(words) {
                builder.end();
            }
            builder.line(number, words);
        }
        before = indent;
    }
    builder.end();
    builder.passages
}

/// Sentences of more than `most` words: where each begins, its number of words, and its first words.
pub fn long_sentences(passage: &Passage, most: usize) -> Vec<(usize, usize, String)> {
    if !passage.sentences {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (mut start, mut words) = (0, Vec::new());
    let mut at = 0;
    for word in passage.text.split_inclusive(' ') {
        let plain = word.trim();
        if plain.contains(|c: char| c.is_alphanumeric() || c == CODE) {
            words.push(plain);
        }
        at += word.len();
        let bare = plain.trim_end_matches(['"', '\'', ')', '*', '_', '”']);
        let ends = bare.ends_with(['.', '!', '?']) && !["e.g.", "i.e.", "vs.", "etc."].contains(&bare);
        if ends || at == passage.text.len() {
            if words.len() > most {
                let first: Vec<String> = words[..6]
                    .iter()
                    .map(|word| word.replace(CODE, ""))
                    .filter(|word| !word.is_empty())
                    .collect();
                found.push((start, words.len(), first.join(" ")));
            }
            (start, words) = (at, Vec::new());
        }
    }
    found
}
