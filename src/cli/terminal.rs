//! Writes text for people: what cannot be written to standard error is dropped, and control characters from
//! models, hubs and files are shown, not obeyed.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, StdoutLock, Write};

/// Whether a terminal would obey the character instead of showing it, or show the characters after it in
/// another order.
fn is_obeyed(c: char) -> bool {
    let directs = matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    directs || (c.is_control() && c != '\n' && c != '\t')
}

/// `text` with such characters as escapes, for example `\x1b`. Line breaks and tabs stay.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_obeyed(c) => shown.push(c),
            c if u32::from(c) < 0x100 => drop(write!(shown, "\\x{:02x}", u32::from(c))),
            c => drop(write!(shown, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    shown.into()
}

/// JSON with such characters as escapes of JSON. They can only be inside of strings.
fn shown_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_obeyed) {
        return json.into();
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            c if is_obeyed(c) => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown.into()
}

/// Writes a line to standard error. Nobody may be there to read it, or the disk of a log may be full: work
/// does not end for that.
pub(super) fn say(text: impl Display) {
    let mut line = shown(&text.to_string()).into_owned();
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Standard output for text. If it is a terminal, control characters are shown; a pipe or a file gets the
/// bytes as they are.
pub(super) struct Output {
    to: StdoutLock<'static>,
    terminal: bool,
}

/// Writes a part of a line to standard error.
pub(super) fn say_part(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(shown(text).as_bytes()).and_then(|()| err.flush());
}

/// Standard output, locked.
pub(super) fn stdout() -> Output {
    Output { to: io::stdout().lock(), terminal: io::stdout().is_terminal() }
}

impl Output {
    /// Writes a line of JSON.
    pub(super) fn json(&mut self, json: &str) -> io::Result<()> {
        self.to.write_all(shown_json(json).as_bytes())?;
        self.to.write_all(b"\n")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.terminal {
            return self.to.write(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        self.to.write_all(shown(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(shown("line\n\ttab é 水"), "line\n\ttab é 水");
        assert_eq!(shown("\u{1b}[2J\r\u{7}\u{8}\u{7f}"), "\\x1b[2J\\x0d\\x07\\x08\\x7f");
        assert_eq!(shown("\u{9b}31m \u{202e}abc\u{2069}"), "\\x9b31m \\u{202e}abc\\u{2069}");
    }

    #[test]
    fn json_stays_json() {
        let text = "\u{1b}[2J \u{9b}31m \u{7f} \u{202e} é";
        let json = serde_json::to_string(text).expect("a string");
        let shown = shown_json(&json);
        assert!(!shown.contains(is_obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
    }
}
