//! A template's text as tokens, with the white space that tags swallow left out.
//!
//! The rules are Jinja's with `trim_blocks` and `lstrip_blocks`: a block tag alone on its line leaves nothing of the
//! line; `-` inside a delimiter swallows all white space beside the tag; `+` keeps it.

use std::borrow::Cow;

use super::fault::{Fault, Result};

/// A token and the line where it begins, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub line: usize,
    pub kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// Text outside the tags.
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

const SIGNS: &[&str] = &[
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

/// The source with LF at the end of each line, without a byte order mark and without the last line end.
pub(super) fn normalized(source: &str) -> Cow<'_, str> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut text = Cow::Borrowed(source);
    if source.contains('\r') {
        text = Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"));
    }
    if text.ends_with('\n') {
        match &mut text {
            Cow::Borrowed(text) => *text = &text[..text.len() - 1],
            Cow::Owned(text) => drop(text.pop()),
        }
    }
    text
}

/// The tokens of a source that [`normalized`] made.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new(), line_starting: true };
    lexer.data().map_err(|fault| fault.at(lexer.line))?;
    let line = lexer.line;
    lexer.tokens.push(Token { line, kind: TokenKind::End });
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    /// Whether the text before `at` ends with a line end.
    line_starting: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: TokenKind) {
        self.tokens.push(Token { line: self.line, kind });
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.matches('\n').count();
        if bytes > 0 {
            self.line_starting = passed.ends_with('\n');
        }
        self.at += bytes;
    }

    /// Reads text and tags up to the end of the source.
    fn data(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let opens = |at: usize| ["{%", "{{", "{#"].iter().any(|open| rest[at..].starts_with(open));
            let Some(at) = rest.match_indices('{').map(|(at, _)| at).find(|&at| opens(at)) else {
                if !rest.is_empty() {
                    self.push(TokenKind::Data(rest.to_owned()));
                }
                self.advance(rest.len());
                return Ok(());
            };
            let tag = &rest[at..];
            let sign = tag[2..].chars().next().filter(|sign| matches!(sign, '-' | '+'));
            let data = self.stripped(&rest[..at], sign, !tag.starts_with("{{"));
            if !data.is_empty() {
                self.push(TokenKind::Data(data.to_owned()));
            }
            let open = 2 + usize::from(sign.is_some());
            if let Some(len) = raw_begin(tag) {
                self.advance(at + len);
                self.raw()?;
                continue;
            }
            self.advance(at + open);
            match &tag[..2] {
                "{#" => self.comment()?,
                "{{" => {
                    self.push(TokenKind::VariableBegin);
                    self.tag("}}")?;
                    self.push(TokenKind::VariableEnd);
                }
                _ => {
                    self.push(TokenKind::BlockBegin);
                    self.tag("%}")?;
                    self.push(TokenKind::BlockEnd);
                }
            }
        }
    }

    /// The text before a tag that opens with `sign`, without the white space that the tag swallows.
    fn stripped<'t>(&self, text: &'t str, sign: Option<char>, block: bool) -> &'t str {
        match sign {
            Some('-') => text.trim_end(),
            None if block => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let whole_line = line > 0 || self.line_starting;
                let blank = text[line..].chars().all(char::is_whitespace);
                if whole_line && blank { &text[..line] } else { text }
            }
            _ => text,
        }
    }

    /// Passes the end of a tag, `close`, and the white space that it swallows. False if there is none here.
    fn closes(&mut self, close: &str) -> bool {
        let rest = self.rest();
        let len = if rest.starts_with('-') && rest[1..].starts_with(close) {
            let after = &rest[1 + close.len()..];
            1 + close.len() + after.len() - after.trim_start().len()
        } else if close != "}}" && rest.starts_with('+') && rest[1..].starts_with(close) {
            1 + close.len()
        } else if let Some(after) = rest.strip_prefix(close) {
            let line_end = close != "}}" && after.starts_with('\n');
            close.len() + usize::from(line_end)
        } else {
            return false;
        };
        self.advance(len);
        true
    }

    fn comment(&mut self) -> Result<()> {
        let rest = self.rest();
        let Some(end) = rest.find("#}") else {
            return Err(Fault::new("a comment is not closed by `#}`"));
        };
        let signed = rest[..end].ends_with(['-', '+']);
        self.advance(end - usize::from(signed));
        self.closes("#}");
        Ok(())
    }

    /// Reads up to `{% endraw %}`.
    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let tag = &rest[at..];
            let sign = tag[2..].chars().next().filter(|sign| matches!(sign, '-' | '+'));
            let inner = tag[2 + usize::from(sign.is_some())..].trim_start();
            let Some(after) = inner.strip_prefix("endraw") else { continue };
            let after = after.trim_start();
            if !["%}", "-%}", "+%}"].iter().any(|close| after.starts_with(close)) {
                continue;
            }
            let data = self.stripped(&rest[..at], sign, true).to_owned();
            if !data.is_empty() {
                self.push(TokenKind::Data(data));
            }
            self.advance(rest.len() - after.len());
            self.closes("%}");
            return Ok(());
        }
        Err(Fault::new("`{% raw %}` is not closed by `{% endraw %}`"))
    }

    /// Reads the inside of a tag and its end.
    fn tag(&mut self, close: &str) -> Result<()> {
        let mut brackets: Vec<&'static str> = Vec::new();
        loop {
            if brackets.is_empty() && self.closes(close) {
                return Ok(());
            }
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(Fault::new(format!("a tag is not closed by `{close}`")));
            };
            if first.is_whitespace() {
                self.advance(rest.len() - rest.trim_start().len());
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if first.is_alphanumeric() || first == '_' {
                let len = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
                let name = &rest[..len.unwrap_or(rest.len())];
                self.push(TokenKind::Name(name.to_owned()));
                self.advance(name.len());
            } else if matches!(first, '\'' | '"') {
                self.string(first)?;
            } else {
                let sign = SIGNS.iter().copied().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| Fault::new(format!("unexpected character `{first}`")))?;
                match sign {
                    "(" => brackets.push(")"),
                    "[" => brackets.push("]"),
                    "{" => brackets.push("}"),
                    ")" | "]" | "}" if brackets.pop() != Some(sign) => {
                        return Err(Fault::new(format!("unexpected `{sign}`")));
                    }
                    _ => {}
                }
                self.push(TokenKind::Sign(sign));
                self.advance(sign.len());
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let too_large = |text: &str| Fault::new(format!("the number {text} is too large"));
        for (radix, prefixes) in [(16, ["0x", "0X"]), (8, ["0o", "0O"]), (2, ["0b", "0B"])] {
            if prefixes.iter().any(|prefix| rest.starts_with(prefix)) {
                let len = rest[2..].find(|letter: char| !(letter.is_digit(radix) || letter == '_'));
                let text = &rest[..len.map_or(rest.len(), |len| len + 2)];
                let digits = text[2..].replace('_', "");
                if digits.is_empty() {
                    return Err(Fault::new(format!("the number {text} has no digits")));
                }
                let number = i64::from_str_radix(&digits, radix).map_err(|_| too_large(text))?;
                self.push(TokenKind::Int(number));
                self.advance(text.len());
                return Ok(());
            }
        }
        let digits = |text: &str| {
            let len = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '_'));
            text[..len.unwrap_or(text.len())].trim_end_matches('_').len()
        };
        let starts = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit());
        let mut len = digits(rest);
        let whole = len;
        // `message.0.5` is no fraction.
        let after_dot = self.source[..self.at].ends_with('.');
        if !after_dot && rest[len..].starts_with('.') && starts(&rest[len + 1..]) {
            len += 1 + digits(&rest[len + 1..]);
        }
        if !after_dot && rest[len..].starts_with(['e', 'E']) {
            let after = &rest[len + 1..];
            let sign = usize::from(after.starts_with(['+', '-']));
            if starts(&after[sign..]) {
                len += 1 + sign + digits(&after[sign..]);
            }
        }
        let text = rest[..len].replace('_', "");
        let kind = if len == whole {
            TokenKind::Int(text.parse().map_err(|_| too_large(&text))?)
        } else {
            TokenKind::Float(text.parse().map_err(|_| too_large(&text))?)
        };
        self.push(kind);
        self.advance(len);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut text = String::new();
        let mut letters = rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.push(TokenKind::Text(text));
                self.advance(at + 1);
                return Ok(());
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let Some((at, escape)) = letters.next() else { break };
            let used = push_escape(escape, &rest[at + escape.len_utf8()..], &mut text)?;
            for _ in 0..used {
                letters.next();
            }
        }
        Err(Fault::new("a string is not closed"))
    }
}

/// The length of `{% raw %}` at the start of `tag`, with what it swallows.
fn raw_begin(tag: &str) -> Option<usize> {
    let inner = tag.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let after = inner.trim_start().strip_prefix("raw")?.trim_start();
    let rest = match after.strip_prefix("-%}") {
        Some(rest) => rest.trim_start(),
        None => after.strip_prefix("%}")?,
    };
    Some(tag.len() - rest.len())
}

/// Writes what Python's escape `\letter` stands for; `rest` follows it. Returns how many characters of `rest`
/// belong to the escape.
fn push_escape(letter: char, rest: &str, text: &mut String) -> Result<usize> {
    let simple = match letter {
        '\n' => return Ok(0),
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '\'' | '"' => letter,
        'x' | 'u' | 'U' => {
            let width = match letter {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let digits =
                rest.get(..width).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let Some(character) = code.and_then(char::from_u32) else {
                return Err(Fault::new(format!("`\\{letter}` needs {width} digits that name a character")));
            };
            text.push(character);
            return Ok(width);
        }
        '0'..='7' => {
            let more = rest.chars().take(2).take_while(|digit| digit.is_digit(8)).count();
            let digits = format!("{letter}{}", &rest[..more]);
            let code = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
            text.extend(code);
            return Ok(more);
        }
        _ => {
            text.push('\\');
            letter
        }
    };
    text.push(simple);
    Ok(0)
}
