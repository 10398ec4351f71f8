//! The error of reading and writing files, and hashes as text.

use std::io;
use std::path::{Path, PathBuf};

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

/// Bytes that are not UTF-8, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: byte {byte} is not UTF-8; save the file as UTF-8")]
pub struct NotUtf8 {
    /// The line, counted from 1.
    pub line: usize,
    /// The byte in that line, counted from 1.
    pub byte: usize,
}

/// The names of all parts of a file in their order, given the name of one: `model-00002-of-00003.gguf`. `None` if it is
/// no such name.
///
/// ```
/// use parr::file::part_names;
///
/// let names = part_names("tiny-00002-of-00002.gguf").expect("a part");
/// assert_eq!(names, ["tiny-00001-of-00002.gguf", "tiny-00002-of-00002.gguf"]);
/// assert_eq!(part_names("tiny.gguf"), None);
/// ```
pub fn part_names(name: &str) -> Option<Vec<String>> {
    let (stem, count) = part(name)?;
    Some((1..=count).map(|number| format!("{stem}-{number:05}-of-{count:05}.gguf")).collect())
}

/// The name of the first part of a file, given the name of one.
pub(crate) fn first_part(name: &str) -> Option<String> {
    part(name).map(|(stem, count)| format!("{stem}-00001-of-{count:05}.gguf"))
}

/// What the names of all parts begin with, and their number.
fn part(name: &str) -> Option<(&str, usize)> {
    let five_digits = |text: &str| {
        let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (stem, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = stem.rsplit_once('-')?;
    let (number, count): (usize, usize) = (five_digits(number)?, five_digits(count)?);
    (1..=count).contains(&number).then_some((stem, count))
}

/// A line without its end, which is `\n` or `\r\n`, or missing at the end of a file.
pub fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Number of bytes to read for a line of up to `line` bytes with its end. The first bytes of a longer line are
/// too long, too, without its end.
pub fn most_bytes(line: usize) -> u64 {
    line as u64 + 2
}

/// The text of a file, without the byte order mark that some editors write at its start.
///
/// ```
/// use parr::file::{NotUtf8, text};
///
/// assert_eq!(text(b"\xEF\xBB\xBFone\n"), Ok("one\n"));
/// assert_eq!(text(b"one\ncaf\xE9\n"), Err(NotUtf8 { line: 2, byte: 4 }));
/// ```
///
/// # Errors
///
/// [`NotUtf8`] with the first byte that is not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, NotUtf8> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        NotUtf8 { line, byte: before.len() - start + 1 }
    })
}

/// Reads a file of text, as [`text`] takes it.
///
/// # Errors
///
/// Any error of reading it, and [`io::ErrorKind::InvalidData`] with a [`NotUtf8`] for bytes that are not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    text(&bytes).map(str::to_owned).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))
}

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
