//! Errors of reading, writing and merging adapters.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::file::AtFile;
use crate::file::FileError;
use crate::format::LoadError;
use crate::model::lora::AdapterError;

/// Why an adapter could not be read, written or merged, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterFileError {
    /// A file is damaged, or needs a computation that this library does not support.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// The path is readable but holds no adapter: name a PEFT directory or a GGUF adapter.
    #[error("{} is not an adapter: {rule}", path.display())]
    NotAnAdapter {
        /// The file or directory.
        path: PathBuf,
        /// What was expected at the path.
        rule: String,
    },

    /// The adapter does not fit the model: use it with the model that it was made for.
    #[error("{}: {reason}", path.display())]
    Fit {
        /// The adapter.
        path: PathBuf,
        /// What does not fit.
        reason: AdapterError,
    },

    /// A factor has another shape than the model needs: the adapter was made for another model.
    #[error(
        "{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}; the adapter was made for \
         another model, or its file is damaged", path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in that file.
        tensor: String,
        /// The shape in the file, outermost axis first.
        found: Vec<usize>,
        /// The shape that the model needs.
        expected: Vec<usize>,
    },

    /// A value is infinite or not a number: use an earlier state of the adapter.
    #[error(
        "{}: value {index} of tensor `{tensor}` is {value}: the file is damaged, or training diverged",
        path.display()
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor's name in that file.
        tensor: String,
        /// Index of the value, in row-major order.
        index: usize,
        /// The value.
        value: f32,
    },

    /// The adapter was trained on other weights: use those, or deliberately leave out the check.
    #[error(
        "the adapter was trained on {base} with sha256 {expected}, but {} has sha256 {found}: \
         use the base that it was trained on", path.display()
    )]
    OtherBase {
        /// The given model.
        path: PathBuf,
        /// The base's name, if the adapter's card has it.
        base: String,
        /// The base's hash from the adapter's card.
        expected: String,
        /// The hash of the given model.
        found: String,
    },

    /// The output path is occupied: choose another path, or clear this one.
    #[error("{} will not be replaced: {rule}", path.display())]
    Occupied {
        /// The existing file or directory.
        path: PathBuf,
        /// Why it is not replaced.
        rule: String,
    },

    /// The output's format cannot hold a part of the adapter or the model.
    #[error("{} cannot be written: {what}; {hint}", path.display())]
    Unwritable {
        /// The output.
        path: PathBuf,
        /// What it cannot hold.
        what: String,
        /// What to do instead.
        hint: String,
    },

    /// The caller cancelled. Nothing was written.
    #[error("cancelled; nothing was written")]
    Cancelled,

    /// The output could not be written: check the disk and the permissions; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl AdapterFileError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AdapterFileError::Io(file) => file.kind(),
            AdapterFileError::Load(inner) => inner.kind(),
            AdapterFileError::Fit { .. }
            | AdapterFileError::Shape { .. }
            | AdapterFileError::OtherBase { .. } => ErrorKind::Mismatch,
            AdapterFileError::Cancelled => ErrorKind::Cancelled,
            AdapterFileError::Unwritable { .. } => ErrorKind::Argument,
            AdapterFileError::Occupied { .. } => ErrorKind::Storage,
            AdapterFileError::NotAnAdapter { .. } | AdapterFileError::Value { .. } => ErrorKind::Format,
        }
    }

    pub(super) fn unwritable(
        path: &Path,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> AdapterFileError {
        AdapterFileError::Unwritable { path: path.to_owned(), what: what.into(), hint: hint.into() }
    }

    /// The error of writing `path`: the one inside `error` if there is one, because writers can only return
    /// [`io::Error`].
    pub(super) fn write(path: &Path, error: io::Error) -> AdapterFileError {
        match error.downcast::<AdapterFileError>() {
            Ok(own) => own,
            Err(source) => AdapterFileError::io("write", path)(source),
        }
    }
}

/// Wraps this error for a writer that can only return [`io::Error`]; the caller of the writer unwraps it.
impl From<AdapterFileError> for io::Error {
    fn from(error: AdapterFileError) -> io::Error {
        io::Error::other(error)
    }
}
