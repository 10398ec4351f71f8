//! Mistakes in files of principles, with their positions.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::file::FileError;

/// One mistake in a file, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there, and what is allowed.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { path, line, column, reason } = self;
        write!(f, "{} line {line} column {column}: {reason}", path.display())
    }
}

/// Why principles cannot be used, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrinciplesError {
    /// A file or directory could not be read: check path and permissions.
    #[error(transparent)]
    Io(#[from] FileError),

    /// Files have mistakes: correct them. All mistakes that were found are listed, in the order of the files.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),

    /// There is no set, file or principle of this name: use one of the known names.
    #[error("there is no {kind} `{name}`; choose one of {}", known.join(", "))]
    Unknown {
        /// The kind of thing: a set, a principle.
        kind: &'static str,
        /// The unknown name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },

    /// Two joined sets have the same principle: leave out one of the sets.
    #[error("principle `{principle}` is in {first} and in {second}; leave one of them out")]
    Twice {
        /// The principle's id.
        principle: String,
        /// The first set that has it.
        first: String,
        /// The second set that has it.
        second: String,
    },

    /// No set was named: name at least one.
    #[error("no set of principles was named; name at least one")]
    NoSet,

    /// A principle cannot be negated: write its negative, or use it without negation.
    #[error("principle `{id}` has no negative")]
    NoNegative {
        /// Its id.
        id: String,
    },
}

impl PrinciplesError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PrinciplesError::Io(file) => file.kind(),
            PrinciplesError::Unknown { .. } => ErrorKind::NotFound,
            PrinciplesError::NoSet => ErrorKind::Argument,
            PrinciplesError::Faults(_)
            | PrinciplesError::Twice { .. }
            | PrinciplesError::NoNegative { .. } => ErrorKind::Principles,
        }
    }

    pub(super) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> PrinciplesError {
        let known = known.into_iter().map(str::to_owned).collect();
        PrinciplesError::Unknown { kind, name: name.to_owned(), known }
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The mistakes of one file so far, by byte offset.
pub(super) struct Faults {
    found: Vec<(usize, String)>,
}

impl Faults {
    pub(super) fn new() -> Faults {
        Faults { found: Vec::new() }
    }

    /// Adds a mistake at byte `at` of the file.
    pub(super) fn add(&mut self, at: usize, reason: impl Into<String>) {
        self.found.push((at, reason.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All mistakes in the order of the file; `text` is its contents, for line numbers.
    pub(super) fn finish(mut self, path: &Path, text: &str) -> Vec<Fault> {
        // Stable: mistakes at one position stay in the order in which they were found.
        self.found.sort_by_key(|(at, _)| *at);
        let fault = |(at, reason)| {
            let (line, column) = place(text, at);
            Fault { path: path.to_owned(), line, column, reason }
        };
        self.found.into_iter().map(fault).collect()
    }
}

/// Line and column, counted from 1, of byte `at` of a text.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Text from a file for use in a message: without control characters, and of bounded length.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_begin_at_one() {
        let text = "é = 1\n\nβ = 2\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, text.find('=').expect("there")), (1, 3));
        assert_eq!(place(text, text.find('2').expect("there")), (3, 5));
        assert_eq!(place(text, 1), (1, 1), "inside a character");
        assert_eq!(place(text, 999), (4, 1), "behind the end");
    }

    #[test]
    fn what_a_file_says_is_shown_in_bounds() {
        assert_eq!(shown("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(shown(&"x".repeat(1 << 20)).len(), 63);
    }
}
