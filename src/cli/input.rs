//! Reads JSON Lines: one JSON value per line; errors name the line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

use super::error::CliError;
use parr::file::{self, NotUtf8};

/// A value and its line.
pub(super) struct Row<T> {
    /// Line number in the file, from 1.
    pub line: usize,
    pub value: T,
}

/// Reads a JSON Lines file, or standard input if `path` is `-`. Blank lines are skipped.
///
/// The whole file is read and checked before any work starts, so a mistake in the last line is reported
/// at once.
///
/// # Errors
///
/// * [`CliError::Input`] if it cannot be read.
/// * [`CliError::Line`] if a line is not a `T`.
pub(super) fn read_rows<T: DeserializeOwned>(path: &str) -> Result<Vec<Row<T>>, CliError> {
    let unreadable = |source| CliError::Input { path: path.to_owned(), source };
    let reader: Box<dyn BufRead> = match path {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(path).map_err(unreadable)?)),
    };
    let mut rows = Vec::new();
    let mut lines = Lines::new(reader);
    while let Some((line, text)) = lines.next().map_err(unreadable)? {
        let text = text.map_err(|reason| CliError::line(path, line, reason))?;
        if text.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(text).map_err(|error| {
            // serde ends its messages with " at line 1 column 9": the line is always 1 here.
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            CliError::line(path, line, format!("{reason} (column {})", error.column()))
        })?;
        rows.push(Row { line, value });
    }
    Ok(rows)
}

/// The text of a whole file, or of standard input if `path` is `-`.
///
/// # Errors
///
/// [`CliError::Line`] for the first byte that is not UTF-8.
pub(super) fn text_of<'a>(path: &str, bytes: &'a [u8]) -> Result<&'a str, CliError> {
    file::text(bytes).map_err(|NotUtf8 { line, byte }| CliError::line(path, line, not_utf8(byte)))
}

fn not_utf8(byte: usize) -> String {
    format!("byte {byte} is not UTF-8; save the text as UTF-8")
}

/// Maximum number of bytes of a line.
const MAX_LINE: usize = 16 << 20;

/// Lines of text, without their line breaks. A line that is not UTF-8 or too long does not end the reading.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Number of the last line that was read, from 1.
    number: usize,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Lines<R> {
        Lines { reader, buffer: Vec::new(), number: 0 }
    }

    /// The next line with its number, or what is wrong with it; none at the end.
    ///
    /// # Errors
    ///
    /// The system's error of reading.
    pub fn next(&mut self) -> io::Result<Option<(usize, Result<&str, String>)>> {
        self.buffer.clear();
        let most = file::most_bytes(MAX_LINE);
        (&mut self.reader).take(most).read_until(b'\n', &mut self.buffer)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let line = file::without_line_end(&self.buffer);
        if line.len() > MAX_LINE {
            if !self.buffer.ends_with(b"\n") {
                self.reader.skip_until(b'\n')?;
            }
            return Ok(Some((self.number, Err(format!("it is longer than {} MiB", MAX_LINE >> 20)))));
        }
        let line = if self.number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        let text = std::str::from_utf8(line).map_err(|error| not_utf8(error.valid_up_to() + 1));
        Ok(Some((self.number, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Row<Vec<u32>>>, CliError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        read_rows(file.path().to_str().expect("UTF-8"))
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let rows = read("[1]\n\n  \n[2,3]\n").expect("valid");
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(rows[1].value, [2, 3]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_a_byte_that_is_not_utf8_is_told() {
        let lines = |bytes: &[u8]| {
            let mut lines = Lines::new(bytes);
            let mut found = Vec::new();
            while let Some((_, line)) = lines.next().expect("bytes are readable") {
                found.push(line.map(str::to_owned));
            }
            found
        };
        let broken = Err("byte 4 is not UTF-8; save the text as UTF-8".to_owned());
        let found = lines(b"\xEF\xBB\xBFone\r\ncaf\xE9\nlast");
        assert_eq!(found, [Ok("one".to_owned()), broken, Ok("last".to_owned())]);
        let long = [vec![b'a'; MAX_LINE + 9], b"\nnext\n".to_vec()].concat();
        let found = lines(&long);
        assert_eq!(found, [Err("it is longer than 16 MiB".to_owned()), Ok("next".to_owned())]);
        for end in ["", "\n", "\r\n"] {
            let longest = [&[b'a'; MAX_LINE], end.as_bytes(), b"next\n"].concat();
            let found = lines(if end.is_empty() { &longest[..MAX_LINE] } else { &longest });
            assert!(matches!(&found[0], Ok(line) if line.len() == MAX_LINE), "{end:?}");
            assert!(end.is_empty() || found[1..] == [Ok("next".to_owned())], "{end:?}");
            let longer = [b"a", &longest[..]].concat();
            assert_eq!(lines(&longer)[0], Err("it is longer than 16 MiB".to_owned()), "{end:?}");
        }
        assert_eq!(read("\u{FEFF}[1]\n").expect("valid").len(), 1);
    }

    #[test]
    fn a_mistake_is_named_by_line_and_column() {
        let error = read("[1]\n[1,\"x\"]\n").map(|_| ()).expect_err("a string is no number").to_string();
        assert!(
            error.contains(" line 2: invalid type: string \"x\"") && error.contains("(column "),
            "{error}"
        );
    }
}
