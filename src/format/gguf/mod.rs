//! GGUF files: metadata with types, and tensors under their Hugging Face names.

mod names;
pub(super) mod parts;
mod read;
mod types;
mod value;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(crate) use names::rope_permuted;
pub use names::{gguf_name, half_split_row};
pub(crate) use parts::is_about_parts;
pub use value::{Array, Value};
pub use write::{GgufBody, GgufWriter};

use super::{LoadError, TensorInfo, UnreadTensor};

/// The header of a GGUF file: its metadata and tensor table, every size and offset checked.
///
/// Getters return `Ok(None)` if the key is absent. For a value of the wrong type, they return an error
/// that names file, key and byte. `need_*` getters also return an error if the key is absent.
#[derive(Clone, Debug)]
pub struct Gguf {
    path: PathBuf,
    version: u32,
    alignment: usize,
    keys: Vec<String>,
    entries: HashMap<String, Entry>,
    tensors: Vec<TensorInfo>,
    unread: Vec<UnreadTensor>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Byte offset of the value's type in the file.
    offset: u64,
    value: Value,
}

impl Gguf {
    /// Parses the header of the GGUF file `bytes`; `path` is for messages only.
    ///
    /// # Errors
    ///
    /// * [`LoadError::Malformed`] and [`LoadError::MalformedTensor`] if the header breaks the
    ///   format: truncation, absurd counts, overlapping or out-of-range tensors, duplicate names.
    /// * [`LoadError::Metadata`] for an invalid value.
    /// * [`LoadError::Unsupported`] for other versions and byte orders.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Gguf, LoadError> {
        read::parse(path, bytes)
    }

    fn empty(path: &Path, version: u32) -> Gguf {
        Gguf {
            path: path.to_owned(),
            version,
            alignment: read::DEFAULT_ALIGNMENT,
            keys: Vec::new(),
            entries: HashMap::new(),
            tensors: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Adds an entry; `false` if the key is taken.
    fn insert(&mut self, key: &str, entry: Entry) -> bool {
        let added = self.entries.insert(key.to_owned(), entry).is_none();
        if added {
            self.keys.push(key.to_owned());
        }
        added
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The GGUF version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of the tensors' data, in bytes.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// The tensors that can be read, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensors in formats that this library does not read, in the file's order.
    pub fn unread(&self) -> &[UnreadTensor] {
        &self.unread
    }

    /// All metadata, in the file's order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.keys.iter().map(|key| (key.as_str(), &self.entries[key].value))
    }

    /// The value of `key`, of any type.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// An error about the value of `key`, with its position in the file.
    pub fn bad(&self, key: &str, rule: impl Into<String>) -> LoadError {
        LoadError::metadata(&self.path, key, self.entry(key).map(|entry| entry.offset), rule)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.bad(key, format!("must be {wanted}, found {}", value.describe()))),
        }
    }

    fn need<T>(&self, key: &str, found: Option<T>) -> Result<T, LoadError> {
        found.ok_or_else(|| self.bad(key, "is missing from the metadata"))
    }

    /// The model's architecture, `general.architecture`, as GGUF names it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value is not a string.
    pub fn architecture(&self) -> Result<Option<&str>, LoadError> {
        self.string("general.architecture")
    }

    /// A string.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type.
    pub fn string(&self, key: &str) -> Result<Option<&str>, LoadError> {
        self.typed(key, "a string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A bool.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        self.typed(key, "a bool", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number that is not negative, of any integer type.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type or is negative.
    pub fn count(&self, key: &str) -> Result<Option<usize>, LoadError> {
        self.typed(key, "a whole number that is not negative", |value| {
            usize::try_from(value.as_integer()?).ok()
        })
    }

    /// A token id.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value is not an integer from 0 to 2^32 - 1.
    pub fn token(&self, key: &str) -> Result<Option<u32>, LoadError> {
        self.typed(key, "a token id", |value| u32::try_from(value.as_integer()?).ok())
    }

    /// A finite number, of any float or integer type.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type, is infinite or NaN.
    pub fn float(&self, key: &str) -> Result<Option<f32>, LoadError> {
        self.typed(key, "a finite number", |value| {
            value.as_float().map(|float| float as f32).filter(|float| float.is_finite())
        })
    }

    /// An array of strings.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, LoadError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::String(strings)) => Some(strings.as_slice()),
            _ => None,
        })
    }

    /// An array of f32.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, LoadError> {
        self.typed(key, "an array of f32", |value| match value {
            Value::Array(Array::F32(floats)) => Some(floats.as_slice()),
            _ => None,
        })
    }

    /// An array of i32; an array of u32 is accepted too if every element fits.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the value has another type.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i32>>, LoadError> {
        self.typed(key, "an array of i32", |value| match value {
            Value::Array(Array::I32(integers)) => Some(integers.clone()),
            Value::Array(Array::U32(integers)) => {
                integers.iter().map(|integer| i32::try_from(*integer).ok()).collect()
            }
            _ => None,
        })
    }

    /// Like [`Gguf::string`], for a required key.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the key is missing or has another type.
    pub fn need_string(&self, key: &str) -> Result<&str, LoadError> {
        self.need(key, self.string(key)?)
    }

    /// Like [`Gguf::count`], for a required key.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the key is missing, has another type or is negative.
    pub fn need_count(&self, key: &str) -> Result<usize, LoadError> {
        self.need(key, self.count(key)?)
    }

    /// Like [`Gguf::float`], for a required key.
    ///
    /// # Errors
    ///
    /// [`LoadError::Metadata`] if the key is missing, has another type or is not finite.
    pub fn need_float(&self, key: &str) -> Result<f32, LoadError> {
        self.need(key, self.float(key)?)
    }
}
