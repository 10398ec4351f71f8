//! Reads JSON Lines: one JSON value per line; errors name the line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use serde::de::DeserializeOwned;

use super::error::CliError;

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
    for (index, text) in reader.lines().enumerate() {
        let text = text.map_err(unreadable)?;
        if text.trim().is_empty() {
            continue;
        }
        let line = index + 1;
        let value = serde_json::from_str(&text).map_err(|error| {
            // serde ends its messages with " at line 1 column 9": the line is always 1 here.
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            CliError::line(path, line, format!("{reason} (column {})", error.column()))
        })?;
        rows.push(Row { line, value });
    }
    Ok(rows)
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
    fn a_mistake_is_named_by_line_and_column() {
        let error = read("[1]\n[1,\"x\"]\n").map(|_| ()).expect_err("a string is no number").to_string();
        assert!(
            error.contains(" line 2: invalid type: string \"x\"") && error.contains("(column "),
            "{error}"
        );
    }
}
