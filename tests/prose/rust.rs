//! Comments and string literals of Rust sources.

use super::text::{Passage, paragraphs};

/// Numbered lines of one comment or string.
type Lines = Vec<(usize, String)>;

/// Reads a source from start to end; what is neither comment nor string is passed over.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    passages: Vec<Passage>,
    /// A comment that the next line may go on with: its mark, and its lines.
    comment: Option<(&'a str, Lines)>,
}

/// Passages of a Rust source: consecutive comment lines together, and every string literal.
pub fn passages(source: &str) -> Vec<Passage> {
    let mut reader = Reader { rest: source, line: 1, passages: Vec::new(), comment: None };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.end_comment();
    reader.passages
}

fn push(lines: &mut Lines, number: usize, c: char) {
    match lines.last_mut() {
        Some((last, text)) if *last == number => text.push(c),
        _ => lines.push((number, c.to_string())),
    }
}

impl<'a> Reader<'a> {
    /// Takes so many bytes, which are whole characters.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn keep(&mut self, lines: &Lines) {
        self.passages.extend(paragraphs(lines.iter().map(|(number, text)| (*number, text.as_str()))));
    }

    fn end_comment(&mut self) {
        if let Some((_, lines)) = self.comment.take() {
            self.keep(&lines);
        }
    }

    fn step(&mut self) {
        let rest = self.rest;
        let first = rest.chars().next().unwrap_or_default();
        if rest.starts_with("//") {
            self.line_comment();
        } else if rest.starts_with("/*") {
            self.end_comment();
            self.block_comment();
        } else if first.is_whitespace() {
            self.take(first.len_utf8());
        } else {
            self.end_comment();
            if first == '"' {
                self.take(1);
                self.string();
            } else if first == '\'' {
                self.quote();
            } else if first.is_alphanumeric() || first == '_' {
                self.word();
            } else {
                self.take(first.len_utf8());
            }
        }
    }

    /// A comment to the end of its line; it continues the comment in the line above if it has the same mark.
    fn line_comment(&mut self) {
        let (number, text) = (self.line, self.rest.lines().next().unwrap_or_default());
        let mark = ["//!", "///", "//"].into_iter().find(|mark| text.starts_with(mark)).unwrap_or("//");
        let continues = self.comment.as_ref().is_some_and(|(before, lines)| {
            *before == mark && lines.last().is_some_and(|(last, _)| last + 1 == number)
        });
        if !continues {
            self.end_comment();
        }
        self.take(text.len());
        let comment = self.comment.get_or_insert((mark, Vec::new()));
        comment.1.push((number, text[mark.len()..].to_owned()));
    }

    fn block_comment(&mut self) {
        let mut lines = Lines::new();
        let mut depth = 0;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
                if depth == 0 {
                    break;
                }
            } else {
                let c = self.rest.chars().next().unwrap_or_default();
                push(&mut lines, self.line, c);
                self.take(c.len_utf8());
            }
        }
        self.keep(&lines);
    }

    /// The rest of a string literal, behind its opening quote.
    fn string(&mut self) {
        let mut lines = Lines::new();
        while let Some(c) = self.rest.chars().next() {
            let number = self.line;
            match c {
                '"' => {
                    self.take(1);
                    break;
                }
                '\\' => {
                    let escaped = self.rest[1..].chars().next().unwrap_or_default();
                    self.take(1 + escaped.len_utf8());
                    match escaped {
                        'n' => lines.push((number, String::new())),
                        't' => push(&mut lines, number, ' '),
                        '"' | '\'' | '\\' => push(&mut lines, number, escaped),
                        _ => {}
                    }
                }
                '\n' => {
                    self.take(1);
                    lines.push((self.line, String::new()));
                }
                c => {
                    push(&mut lines, number, c);
                    self.take(c.len_utf8());
                }
            }
        }
        self.keep(&lines);
    }

    /// The rest of a raw string literal, behind its opening quote, up to a quote with so many hashes.
    fn raw_string(&mut self, hashes: usize) {
        let close = format!("\"{}", "#".repeat(hashes));
        let number = self.line;
        let length = self.rest.find(&close).unwrap_or(self.rest.len());
        let text = self.take(length);
        self.take(close.len().min(self.rest.len()));
        self.keep(&(number..).zip(text.lines().map(str::to_owned)).collect());
    }

    /// A character, or the mark of a lifetime.
    fn quote(&mut self) {
        self.take(1);
        let mut characters = self.rest.chars();
        match characters.next() {
            Some('\\') => {
                let escaped = characters.next().unwrap_or_default();
                self.take(1 + escaped.len_utf8());
                // \x7F and \u{1F600} end at the quote.
                let end = self.rest.find('\'').map_or(self.rest.len(), |at| at + 1);
                self.take(end);
            }
            Some(c) if characters.next() == Some('\'') => {
                self.take(c.len_utf8() + 1);
            }
            _ => {}
        }
    }

    /// A name, a number, or what comes before the quote of a byte, C or raw string.
    fn word(&mut self) {
        let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = self.take(length);
        let hashes = self.rest.bytes().take_while(|byte| *byte == b'#').count();
        let raw = matches!(word, "r" | "br" | "cr") && self.rest[hashes..].starts_with('"');
        if raw {
            self.take(hashes + 1);
            self.raw_string(hashes);
        } else if matches!(word, "b" | "c") && self.rest.starts_with('"') {
            self.take(1);
            self.string();
        }
    }
}
