//! Checkpoints on disk: GGUF files and Hugging Face directories, mapped and checked.
//!
//! [`Checkpoint::open`] reads only headers; weights stay in the file until [`Checkpoint::bytes`]
//! reads them, so host memory does not grow with the model. Headers are untrusted: counts, lengths
//! and offsets are bounded and checked before they are used. A failed check gives a [`LoadError`]
//! that names file, tensor and byte.

mod content_hash;
mod directory;
mod error;
pub mod gguf;
pub(crate) mod hf_names;
mod joined;
pub(crate) mod json;
mod mapped;
pub mod safetensors;
mod unread;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use content_hash::HashCache;
pub use error::LoadError;
pub(crate) use error::printable;
use gguf::Gguf;
use mapped::MappedFile;
pub use unread::UnreadTensor;

use crate::quant::Quant;

/// One tensor of a checkpoint: its name, type and position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in Hugging Face's Llama, in GGUF files and in other families too:
    /// `model.layers.0.self_attn.q_proj.weight`. Tensors without such a name (`rope_freqs.weight`) keep their own.
    pub name: String,
    /// The name in the file.
    pub source_name: String,
    /// Extent of each axis, outermost first: `[rows, cols]`.
    pub shape: Vec<usize>,
    /// How the weights are stored.
    pub quant: Quant,
    /// Whether the rows of each head are in the order of interleaved rotary embedding (rows `2i`
    /// and `2i + 1` are a pair) instead of Hugging Face's order (`i` and `i + head_dim / 2`).
    pub rope_permuted: bool,
    /// Index of the file in the checkpoint.
    file: usize,
    /// Start of the data, in bytes from the file's start.
    start: usize,
    /// Size of the data, in bytes.
    len: usize,
}

impl TensorInfo {
    /// Rows: the product of all axes but the last, 1 for a vector.
    pub fn rows(&self) -> usize {
        // The product of all axes was checked on parsing, unless an axis is empty.
        self.shape.split_last().map_or(1, |(_, outer)| {
            outer.iter().try_fold(1, |rows: usize, axis| rows.checked_mul(*axis)).unwrap_or(0)
        })
    }

    /// Columns: the last axis, 1 for a scalar.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The row in Hugging Face's order that is row `row` of the file; heads are `head_dim` wide.
    pub fn row_in_halves(&self, row: usize, head_dim: usize) -> usize {
        if self.rope_permuted { gguf::half_split_row(row, head_dim) } else { row }
    }

    /// Size of the data in the file, in bytes.
    pub fn byte_len(&self) -> usize {
        self.len
    }
}

/// A model on disk, memory-mapped and read on demand.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    header: Header,
    files: Vec<MappedFile>,
    tensors: Vec<TensorInfo>,
    /// Single matrices in joined tensors.
    views: Vec<TensorInfo>,
    /// Indices in `tensors`, and behind these in `views`.
    by_name: HashMap<String, usize>,
    unread: Vec<Unread>,
    unread_by_name: HashMap<String, usize>,
}

/// A tensor that cannot be read, and the index of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unread {
    tensor: UnreadTensor,
    file: usize,
}

#[derive(Debug)]
enum Header {
    Gguf(Gguf),
    Config(serde_json::Value),
    /// Tensors alone.
    None,
}

impl Checkpoint {
    /// Opens a GGUF file (version 2 or 3; of a split one any part, with the others beside it), or a Hugging Face directory with `config.json` and
    /// `model.safetensors` or its shards. Reads headers only.
    ///
    /// # Errors
    ///
    /// * [`LoadError::Io`] if a file cannot be read, [`LoadError::NotACheckpoint`] if `path` holds
    ///   no model.
    /// * [`LoadError::Malformed`], [`LoadError::MalformedTensor`] and [`LoadError::Metadata`] if a
    ///   header breaks its format's rules.
    /// * [`LoadError::Unsupported`] for valid files of kinds that this library does not read.
    pub fn open(path: &Path) -> Result<Checkpoint, LoadError> {
        if path.is_dir() {
            let directory = directory::open(path)?;
            let header = Header::Config(directory.config);
            return Ok(Checkpoint::new(path, header, directory.files, directory.tensors, directory.unread));
        }
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let rule = "a safetensors file has no configuration; name the directory that holds it";
            return Err(LoadError::NotACheckpoint { path: path.to_owned(), rule: rule.into() });
        }
        let parts = gguf::parts::open(path)?;
        Ok(Checkpoint::new(path, Header::Gguf(parts.header), parts.files, parts.tensors, parts.unread))
    }

    /// Opens one safetensors file alone: tensors without a configuration, not a model.
    ///
    /// # Errors
    ///
    /// * [`LoadError::Io`] if the file cannot be read.
    /// * [`LoadError::Malformed`] and [`LoadError::MalformedTensor`] as [`safetensors::parse`] gives them.
    pub fn open_tensors(path: &Path) -> Result<Checkpoint, LoadError> {
        let file = MappedFile::open(path)?;
        let parsed = safetensors::parse(path, file.bytes(), 0)?;
        let unread = parsed.unread.into_iter().map(|tensor| Unread { tensor, file: 0 }).collect();
        Ok(Checkpoint::new(path, Header::None, vec![file], parsed.tensors, unread))
    }

    fn new(
        path: &Path,
        header: Header,
        files: Vec<MappedFile>,
        tensors: Vec<TensorInfo>,
        unread: Vec<Unread>,
    ) -> Checkpoint {
        let views = joined::views(&header, &tensors);
        let names = tensors.iter().chain(&views).enumerate();
        let by_name = names.map(|(index, tensor)| (tensor.name.clone(), index)).collect();
        let names = unread.iter().enumerate();
        let unread_by_name = names.map(|(index, unread)| (unread.tensor.name.clone(), index)).collect();
        Checkpoint { path: path.to_owned(), header, files, tensors, views, by_name, unread, unread_by_name }
    }

    /// The file or directory that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header of a GGUF file, or of the first of its parts; `None` for others.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.header {
            Header::Gguf(gguf) => Some(gguf),
            Header::Config(_) | Header::None => None,
        }
    }

    /// The `config.json` of a directory; `None` for a single file.
    pub fn config_json(&self) -> Option<&serde_json::Value> {
        match &self.header {
            Header::Gguf(_) | Header::None => None,
            Header::Config(config) => Some(config),
        }
    }

    /// The path of file `name` in the model's directory, or next to a single file; `None` if there
    /// is no such file.
    pub fn file_beside(&self, name: &str) -> Option<PathBuf> {
        let folder = match self.header {
            Header::Gguf(_) | Header::None => self.path.parent()?,
            Header::Config(_) => &self.path,
        };
        Some(folder.join(name)).filter(|path| path.is_file())
    }

    /// Reads JSON file `name` in the model's directory, or next to a single file; `None` if there is
    /// no such file.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] if the file cannot be read, [`LoadError::Malformed`] if it is not JSON or
    /// too large.
    pub fn json_beside(&self, name: &str) -> Result<Option<serde_json::Value>, LoadError> {
        self.file_beside(name).map(|path| directory::read_json(&path)).transpose()
    }

    /// All tensors of the files that can be read. Views of joined tensors are not among them.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// The tensor with the canonical name `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let index = *self.by_name.get(name)?;
        self.tensors.get(index).or_else(|| self.views.get(index - self.tensors.len()))
    }

    /// The tensors in formats that this library does not read.
    pub fn unread(&self) -> impl Iterator<Item = &UnreadTensor> {
        self.unread.iter().map(|unread| &unread.tensor)
    }

    /// Whether there is a tensor with the canonical name `name`, readable or not.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.unread_by_name.contains_key(name)
    }

    /// `Ok` if all tensors can be read: for what copies or needs every one of them.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] naming the first one that cannot.
    pub fn need_all_tensors(&self) -> Result<(), LoadError> {
        self.unread.first().map_or(Ok(()), |unread| Err(self.unread_error(unread)))
    }

    fn unread_error(&self, unread: &Unread) -> LoadError {
        unread.tensor.error(&self.files[unread.file].path)
    }

    /// The tensor with the canonical name `name`, which must have `shape`, outermost axis first.
    ///
    /// # Errors
    ///
    /// * [`LoadError::MissingTensor`] if there is none.
    /// * [`LoadError::Unsupported`] if this library does not read its format.
    /// * [`LoadError::Shape`] if it has another shape.
    pub fn need_tensor(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo, LoadError> {
        let Some(tensor) = self.tensor(name) else {
            if let Some(index) = self.unread_by_name.get(name) {
                return Err(self.unread_error(&self.unread[*index]));
            }
            return Err(LoadError::MissingTensor { path: self.path.clone(), tensor: name.into() });
        };
        if tensor.shape != shape {
            return Err(LoadError::Shape {
                path: self.file_of(tensor).path.clone(),
                tensor: name.into(),
                expected: shape.to_vec(),
                found: tensor.shape.clone(),
            });
        }
        Ok(tensor)
    }

    /// Whether the matrix with the canonical name `name` is a part of a tensor that joins several.
    pub fn is_joined(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|index| *index >= self.tensors.len())
    }

    /// The data of `tensor`, which must belong to this checkpoint, in the file's format.
    ///
    /// # Panics
    ///
    /// If `tensor` belongs to another checkpoint and this one has no data at its position.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        &self.file_of(tensor).bytes()[tensor.start..tensor.start + tensor.len]
    }

    fn file_of(&self, tensor: &TensorInfo) -> &MappedFile {
        &self.files[tensor.file]
    }

    /// SHA-256 of the checkpoint in hexadecimal: of the single file, of the parts of a file in their order, or of a
    /// directory's `config.json` followed by its safetensors files in the order of their names.
    ///
    /// The hash of files of 8 MiB and more is stored in [`cache::directory`](crate::cache::directory), so
    /// that a file is read once and not in each process. It is computed again if the path, size, modification
    /// time or inode of a file has changed, or if the entry is damaged.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] if a file cannot be read.
    pub fn content_hash(&self) -> Result<String, LoadError> {
        let config = self.config_json().map(|_| self.path.join("config.json"));
        let files = self.files.iter().map(|file| file.path.clone());
        HashCache::default().hash(&config.into_iter().chain(files).collect::<Vec<_>>())
    }
}
