//! The error of reading and writing files, and hashes as text.

use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;

/// A file or directory could not be read or written: check path, permissions and space; a retry may help.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// The attempted action, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl FileError {
    /// [`ErrorKind::NotFound`] if there is no such file, else [`ErrorKind::Storage`].
    pub fn kind(&self) -> ErrorKind {
        if self.source.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Storage }
    }
}

/// Adds action and path to an I/O error, for every error that holds a [`FileError`].
pub(crate) trait AtFile: From<FileError> {
    /// A closure for `map_err`.
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| FileError { action, path, source }.into()
    }
}

impl<E: From<FileError>> AtFile for E {}

/// Bytes as lower-case hexadecimal digits.
///
/// ```
/// assert_eq!(parr::file::hex(&[0, 0xab]), "00ab");
/// ```
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest;
    hex(sha2::Sha256::digest(bytes))
}
