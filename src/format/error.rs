//! Errors of loading a checkpoint.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::file::FileError;

/// Why a checkpoint could not become a model, grouped by what the caller can do next.
///
/// Every variant names its file and, if there is one, the tensor, key and byte. The message alone is
/// enough to act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be opened or mapped: check path and permissions; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The path is readable but holds no checkpoint: name a GGUF file or a model directory.
    #[error("{} is not a checkpoint: {rule}", path.display())]
    NotACheckpoint {
        /// The file or directory.
        path: PathBuf,
        /// What was expected at the path.
        rule: String,
    },

    /// The bytes break a rule of the format: the file is damaged, or is not of the kind its name suggests.
    #[error("{} is malformed at byte {offset}: {rule}; download or convert it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// The rule that is broken, and by which value.
        rule: String,
    },

    /// One tensor's description breaks a rule of the format: the file is damaged.
    #[error(
        "{} is malformed at byte {offset}, tensor `{tensor}`: {rule}; download or convert it again",
        path.display()
    )]
    MalformedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name in that file.
        tensor: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// The rule that is broken, and by which value.
        rule: String,
    },

    /// A value of the metadata or of `config.json` is missing or makes no sense: convert the model
    /// again, or correct the value.
    #[error("{}: `{key}` {}{rule}", path.display(), AtByte(*offset))]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key, with dots between levels.
        key: String,
        /// Byte offset of the value in the file; `None` in JSON files and for missing keys.
        offset: Option<u64>,
        /// What is wrong with the value.
        rule: String,
    },

    /// The file is valid but needs something that this library does not support.
    #[error("{} cannot be used: {what}; {hint}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it needs, and where.
        what: String,
        /// What to use instead.
        hint: String,
    },

    /// The checkpoint lacks a tensor of its architecture: its download or conversion is incomplete.
    #[error("{} holds no tensor `{tensor}`: it is incomplete, or of another architecture", path.display())]
    MissingTensor {
        /// The file or directory.
        path: PathBuf,
        /// The tensor's canonical name.
        tensor: String,
    },

    /// A tensor does not fit this architecture: load it with the matching `config.json`.
    #[error(
        "{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}; its configuration belongs \
         to another model", path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's canonical name.
        tensor: String,
        /// The shape that the configuration requires, outermost axis first.
        expected: Vec<usize>,
        /// The shape in the file, outermost axis first.
        found: Vec<usize>,
    },

    /// The files are not those that the model was loaded from before: open the model anew.
    #[error("{} has changed since the model was loaded from it; open the model again", path.display())]
    Replaced {
        /// The file or directory.
        path: PathBuf,
    },
}

impl LoadError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LoadError::Io(file) => file.kind(),
            LoadError::Replaced { .. } => ErrorKind::Mismatch,
            _ => ErrorKind::Format,
        }
    }

    /// The file or directory that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            LoadError::Io(FileError { path, .. })
            | LoadError::NotACheckpoint { path, .. }
            | LoadError::Malformed { path, .. }
            | LoadError::MalformedTensor { path, .. }
            | LoadError::Metadata { path, .. }
            | LoadError::Unsupported { path, .. }
            | LoadError::MissingTensor { path, .. }
            | LoadError::Shape { path, .. }
            | LoadError::Replaced { path } => path,
        }
    }

    pub(crate) fn malformed(path: &Path, offset: usize, rule: impl Into<String>) -> LoadError {
        LoadError::Malformed { path: path.to_owned(), offset: offset as u64, rule: rule.into() }
    }

    /// A JSON error in `json`, which starts at byte `start` of the file. Its line and column become one
    /// byte offset, as in every other message.
    pub(super) fn json(path: &Path, start: usize, json: &[u8], error: &serde_json::Error) -> LoadError {
        let lines = json.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
        // Bounded, because serde_json takes the column of some errors from the end of their text.
        let within = before.saturating_add(error.column().saturating_sub(1)).min(json.len());
        let place = format!(" at line {} column {}", error.line(), error.column());
        let rule = error.to_string().replace(&place, "");
        LoadError::malformed(path, start + within, format!("its JSON: {rule}"))
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, offset: usize, rule: impl Into<String>) -> LoadError {
        LoadError::MalformedTensor {
            path: path.to_owned(),
            tensor: printable(tensor),
            offset: offset as u64,
            rule: rule.into(),
        }
    }

    pub(crate) fn metadata(
        path: &Path,
        key: &str,
        offset: Option<u64>,
        rule: impl Into<String>,
    ) -> LoadError {
        let (path, key) = (path.to_owned(), printable(key));
        LoadError::Metadata { path, key, offset, rule: rule.into() }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: path.to_owned(), what: what.into(), hint: hint.into() }
    }
}

/// A name from a file for use in a message: without control characters, and of bounded length.
pub(crate) fn printable(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push_str("...");
    }
    text
}

struct AtByte(Option<u64>);

impl fmt::Display for AtByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, "(at byte {offset}) "),
            None => Ok(()),
        }
    }
}
