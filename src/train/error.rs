//! What can go wrong around a training run, apart from the device.

use std::io;
use std::path::{Path, PathBuf};

/// Why a training run could not be set up or go on, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A line of a data file or of a log is wrong: correct that line.
    #[error("{} line {line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// The rows are sound, but the file as a whole cannot be trained on: give other data or settings.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// A settings file is not TOML, or has a key or a value that no setting has: correct it there.
    #[error("{} line {line} column {column}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },

    /// Settings are outside their range, or contradict each other: all that do, at once.
    #[error("the settings are not usable: {}", faults.join("; "))]
    Settings {
        /// One sentence for each fault, with the setting's name, its value and what it may be.
        faults: Vec<String>,
    },

    /// A saved training state is damaged, or not one: resume from another.
    #[error("{} is no sound training state: {rule}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The rule that is broken, and by which value.
        rule: String,
    },
}

impl TrainError {
    /// A closure for `map_err`: names the action and the path of an I/O failure.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TrainError {
        move |source| TrainError::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn row(path: &Path, line: usize, reason: impl Into<String>) -> TrainError {
        TrainError::Row { path: path.to_owned(), line, reason: bounded(&reason.into()) }
    }

    pub(crate) fn state(path: &Path, rule: impl Into<String>) -> TrainError {
        TrainError::State { path: path.to_owned(), rule: bounded(&rule.into()) }
    }
}

/// A message that quotes a file, as it may be shown: no control characters, and of bounded length.
fn bounded(text: &str) -> String {
    const HEAD: usize = 240;
    const TAIL: usize = 160;
    let escaped = |letter: char| if letter.is_control() { ' ' } else { letter };
    let letters: Vec<char> = text.chars().map(escaped).collect();
    match letters.len().checked_sub(HEAD + TAIL) {
        None | Some(0) => letters.into_iter().collect(),
        Some(cut) => {
            let tail = letters[HEAD + cut..].iter();
            letters[..HEAD].iter().chain(&[' ', '.', '.', '.', ' ']).chain(tail).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_shown_in_bounds() {
        let error = TrainError::row(
            "rows.jsonl".as_ref(),
            3,
            format!("key `\u{1b}[2J{}` is new", "x".repeat(1 << 20)),
        );
        let text = error.to_string();
        assert!(
            text.starts_with("rows.jsonl line 3: key ` [2Jxxx") && text.ends_with("xxx` is new"),
            "{text}"
        );
        assert!(text.len() < 500 && !text.contains('\u{1b}'));
    }
}
