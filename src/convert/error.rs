//! Errors of converting.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::format::LoadError;
use crate::tokenizer::TextError;

/// Why a directory was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The caller cancelled. Nothing was left.
    #[error("cancelled")]
    Cancelled,
    /// The directory is damaged, or holds a model that is not supported.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A GGUF file cannot express a part of the model.
    #[error("{}: {what}; {hint}", path.display())]
    NoPlace {
        /// The directory.
        path: PathBuf,
        /// The part.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConvertError {
    /// What the caller can do about the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ConvertError::Cancelled => ErrorKind::Cancelled,
            ConvertError::Load(error) => error.kind(),
            ConvertError::NoPlace { .. } => ErrorKind::Format,
            ConvertError::Text(error) => error.kind(),
            ConvertError::Write { .. } => ErrorKind::Storage,
        }
    }

    pub(super) fn no_place(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> ConvertError {
        ConvertError::NoPlace { path: path.to_owned(), what: what.into(), hint: hint.into() }
    }

    /// The error of writing `path`, or the cancel that it carries.
    pub(super) fn write(path: &Path, source: io::Error) -> ConvertError {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<ConvertError>()) {
            Some(ConvertError::Cancelled) => ConvertError::Cancelled,
            _ => ConvertError::Write { path: path.to_owned(), source },
        }
    }
}

impl From<ConvertError> for io::Error {
    fn from(error: ConvertError) -> io::Error {
        io::Error::other(error)
    }
}
