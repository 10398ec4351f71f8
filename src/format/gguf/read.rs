//! Reads the untrusted header of a GGUF file.

use std::collections::HashSet;
use std::path::Path;

use super::types::Storage;
use super::value::{self, Array, Value};
use super::{Entry, Gguf, names};
use crate::format::{LoadError, TensorInfo, UnreadTensor};

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
pub(super) const DEFAULT_ALIGNMENT: usize = 32;

/// Maximum number of keys, and of tensors, in one file; the largest models have a few thousand each.
const MAX_ENTRIES: u64 = 1 << 17;
/// Maximum size of one string in bytes; chat templates reach 100 kB.
const MAX_STRING: u64 = 1 << 24;
/// Maximum size of a key in bytes, by the specification.
const MAX_KEY: u64 = 65535;
/// Maximum size of a tensor's name in bytes; ggml allows 64.
const MAX_NAME: u64 = 256;
/// Maximum number of elements of one array; the largest vocabularies have 300 000.
const MAX_ARRAY: u64 = 1 << 24;
/// Maximum nesting of arrays; no known key nests arrays.
const MAX_DEPTH: usize = 4;
/// Maximum number of axes of a tensor, by ggml.
const MAX_AXES: u32 = 4;
/// Maximum alignment in bytes; the specification requires a multiple of 8, files use 32.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// Bytes of the shortest entry: length, one character, type, one byte.
const MIN_ENTRY: usize = 8 + 1 + 4 + 1;
/// Bytes of the shortest tensor description: length, one character, axes, one axis, type, offset.
const MIN_TENSOR: usize = 8 + 1 + 4 + 8 + 4 + 8;

struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    /// As the metadata, or that of the first part, names it.
    architecture: Option<String>,
}

/// Parses the whole header and checks every tensor against the length of `bytes`.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Gguf, LoadError> {
    parse_part(path, bytes, None)
}

/// Parses the header of a part of a model whose first part names this architecture.
pub(super) fn parse_part(path: &Path, bytes: &[u8], architecture: Option<&str>) -> Result<Gguf, LoadError> {
    let mut cursor = Cursor { path, bytes, at: 0, architecture: None };
    let magic: [u8; 4] = cursor.fixed("the magic number")?;
    if &magic != MAGIC {
        let rule = "a gguf file starts with `GGUF`, this one does not";
        return Err(LoadError::malformed(path, 0, rule));
    }
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => {}
        _ if matches!(version.swap_bytes(), 2 | 3) => {
            return Err(LoadError::unsupported(
                path,
                "it is a big-endian gguf file (version at byte 4)",
                "convert it with llama.cpp's gguf_convert_endian.py",
            ));
        }
        _ => {
            return Err(LoadError::unsupported(
                path,
                format!("its gguf version is {version} (at byte 4)"),
                "convert it to version 3",
            ));
        }
    }
    let tensor_count = cursor.count("tensors", MAX_ENTRIES, MIN_TENSOR)?;
    let entry_count = cursor.count("metadata keys", MAX_ENTRIES, MIN_ENTRY)?;
    let mut gguf = Gguf::empty(path, version);
    for _ in 0..entry_count {
        cursor.entry(&mut gguf)?;
    }
    let alignment = alignment(&gguf)?;
    cursor.architecture = gguf.architecture()?.or(architecture).map(str::to_owned);
    for listed in cursor.tensors(tensor_count, alignment)? {
        match listed.storage {
            Storage::Read(quant) => {
                let rope_permuted = names::rope_permuted(cursor.architecture.as_deref(), &listed.source_name);
                let Listed { name, source_name, shape, start, len, .. } = listed;
                let len = len.unwrap_or(0);
                gguf.tensors.push(TensorInfo {
                    name,
                    source_name,
                    shape,
                    quant,
                    rope_permuted,
                    file: 0,
                    start,
                    len,
                });
            }
            other => gguf.unread.push(UnreadTensor {
                name: listed.name,
                source_name: listed.source_name,
                why: other.unread(),
            }),
        }
    }
    gguf.alignment = alignment;
    Ok(gguf)
}

fn alignment(gguf: &Gguf) -> Result<usize, LoadError> {
    const KEY: &str = "general.alignment";
    let Some(entry) = gguf.entry(KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let valid = match entry.value {
        Value::U32(v) if v.is_power_of_two() && u64::from(v) <= MAX_ALIGNMENT => Some(v as usize),
        _ => None,
    };
    valid.ok_or_else(|| {
        let found = entry.value.describe();
        gguf.bad(KEY, format!("must be a power of two up to {MAX_ALIGNMENT} as u32, found {found}"))
    })
}

impl<'a> Cursor<'a> {
    fn malformed(&self, offset: usize, rule: impl Into<String>) -> LoadError {
        LoadError::malformed(self.path, offset, rule)
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], LoadError> {
        if len > self.remaining() {
            let end = self.bytes.len();
            let rule = format!("{what} needs {len} bytes, but the file ends at byte {end}");
            return Err(self.malformed(self.at, rule));
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N], LoadError> {
        Ok(self.take(N, what)?.try_into().expect("take returns N bytes"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, LoadError> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    /// A count of items of at least `min_bytes` each: at most `limit`, and no more than fit into the bytes
    /// that follow.
    fn count(&mut self, what: &str, limit: u64, min_bytes: usize) -> Result<usize, LoadError> {
        let at = self.at;
        let count = self.u64(&format!("the number of {what}"))?;
        if count > limit {
            return Err(self.malformed(at, format!("{count} {what}, at most {limit} are allowed")));
        }
        let left = self.remaining();
        if count > (left / min_bytes) as u64 {
            let rule = format!("{count} {what} cannot fit in the {left} bytes that follow");
            return Err(self.malformed(at, rule));
        }
        Ok(count as usize)
    }

    fn string(&mut self, what: &str, limit: u64) -> Result<&'a str, LoadError> {
        let at = self.at;
        let len = self.u64(&format!("the length of {what}"))?;
        if len > limit {
            let rule = format!("{what} has {len} bytes, at most {limit} are allowed");
            return Err(self.malformed(at, rule));
        }
        let start = self.at;
        let bytes = self.take(len as usize, what)?;
        std::str::from_utf8(bytes)
            .map_err(|e| self.malformed(start + e.valid_up_to(), format!("{what} is not UTF-8")))
    }

    fn entry(&mut self, gguf: &mut Gguf) -> Result<(), LoadError> {
        let at = self.at;
        let key = self.string("a metadata key", MAX_KEY)?;
        if key.is_empty() {
            return Err(self.malformed(at, "a metadata key is empty"));
        }
        let offset = self.at;
        let value = self.value().map_err(|error| match error {
            // An error inside a value names the key.
            LoadError::Malformed { offset, rule, .. } => {
                LoadError::metadata(self.path, key, Some(offset), rule)
            }
            other => other,
        })?;
        if !gguf.insert(key, Entry { offset: offset as u64, value }) {
            return Err(LoadError::metadata(
                self.path,
                key,
                Some(at as u64),
                "appears twice in the metadata",
            ));
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value, LoadError> {
        let at = self.at;
        let what = "a value";
        Ok(match self.u32("the type of a value")? {
            0 => Value::U8(u8::from_le_bytes(self.fixed(what)?)),
            1 => Value::I8(i8::from_le_bytes(self.fixed(what)?)),
            2 => Value::U16(u16::from_le_bytes(self.fixed(what)?)),
            3 => Value::I16(i16::from_le_bytes(self.fixed(what)?)),
            4 => Value::U32(u32::from_le_bytes(self.fixed(what)?)),
            5 => Value::I32(i32::from_le_bytes(self.fixed(what)?)),
            6 => Value::F32(f32::from_le_bytes(self.fixed(what)?)),
            7 => Value::Bool(self.bool()?),
            value::STRING => Value::String(self.string("a string", MAX_STRING)?.to_owned()),
            value::ARRAY => Value::Array(self.array(1)?),
            10 => Value::U64(u64::from_le_bytes(self.fixed(what)?)),
            11 => Value::I64(i64::from_le_bytes(self.fixed(what)?)),
            12 => Value::F64(f64::from_le_bytes(self.fixed(what)?)),
            other => {
                return Err(self.malformed(at, format!("value type {other}, only 0 to 12 exist")));
            }
        })
    }

    fn bool(&mut self) -> Result<bool, LoadError> {
        let at = self.at;
        match self.fixed("a bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(self.malformed(at, format!("a bool is {byte}, only 0 and 1 exist"))),
        }
    }

    fn scalars<T, const N: usize>(&mut self, read: fn([u8; N]) -> T) -> Result<Vec<T>, LoadError> {
        let count = self.count("array elements", MAX_ARRAY, N)?;
        let bytes = self.take(count * N, "an array")?;
        let chunks = bytes.chunks_exact(N);
        Ok(chunks.map(|c| read(c.try_into().expect("chunks_exact gives N bytes"))).collect())
    }

    /// An array at nesting level `depth`, the outermost being 1.
    fn array(&mut self, depth: usize) -> Result<Array, LoadError> {
        let at = self.at;
        if depth > MAX_DEPTH {
            let rule = format!("arrays are nested deeper than {MAX_DEPTH} levels");
            return Err(self.malformed(at, rule));
        }
        Ok(match self.u32("the type of an array's elements")? {
            0 => Array::U8(self.scalars(u8::from_le_bytes)?),
            1 => Array::I8(self.scalars(i8::from_le_bytes)?),
            2 => Array::U16(self.scalars(u16::from_le_bytes)?),
            3 => Array::I16(self.scalars(i16::from_le_bytes)?),
            4 => Array::U32(self.scalars(u32::from_le_bytes)?),
            5 => Array::I32(self.scalars(i32::from_le_bytes)?),
            6 => Array::F32(self.scalars(f32::from_le_bytes)?),
            7 => {
                let count = self.count("array elements", MAX_ARRAY, 1)?;
                Array::Bool((0..count).map(|_| self.bool()).collect::<Result<_, _>>()?)
            }
            value::STRING => {
                let count = self.count("array elements", MAX_ARRAY, 8)?;
                let string =
                    |_| -> Result<String, LoadError> { Ok(self.string("a string", MAX_STRING)?.to_owned()) };
                Array::String((0..count).map(string).collect::<Result<_, _>>()?)
            }
            value::ARRAY => {
                let count = self.count("array elements", MAX_ARRAY, 4 + 8)?;
                let nested = |_| self.array(depth + 1);
                Array::Array((0..count).map(nested).collect::<Result<_, _>>()?)
            }
            10 => Array::U64(self.scalars(u64::from_le_bytes)?),
            11 => Array::I64(self.scalars(i64::from_le_bytes)?),
            12 => Array::F64(self.scalars(f64::from_le_bytes)?),
            other => {
                let rule = format!("array element type {other}, only 0 to 12 exist");
                return Err(self.malformed(at, rule));
            }
        })
    }

    /// Reads the tensor table, and checks it once the start of the data is known.
    fn tensors(&mut self, count: usize, alignment: usize) -> Result<Vec<Listed>, LoadError> {
        let mut names = HashSet::new();
        let mut tensors = Vec::with_capacity(count);
        for _ in 0..count {
            tensors.push(self.tensor(alignment, &mut names)?);
        }
        // The data starts at the next multiple of the alignment, counted from the file's start.
        let data = self.at.next_multiple_of(alignment);
        for tensor in &mut tensors {
            // A tensor of unknown size must at least begin in the file.
            let len = tensor.len.unwrap_or(0);
            let end = data.checked_add(tensor.start).and_then(|start| start.checked_add(len));
            if end.is_none_or(|end| end > self.bytes.len()) {
                let rule = format!(
                    "its {len} bytes at offset {} of the data, which starts at byte {data}, reach past \
                     the file's end at byte {}",
                    tensor.start,
                    self.bytes.len()
                );
                return Err(LoadError::tensor(self.path, &tensor.source_name, tensor.field, rule));
            }
            tensor.start += data;
        }
        let mut order: Vec<&Listed> = tensors.iter().collect();
        order.sort_by_key(|tensor| tensor.start);
        for pair in order.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            if first.start + first.len.unwrap_or(0) > second.start {
                let rule = format!("its data overlaps that of `{}`", first.source_name);
                return Err(LoadError::tensor(self.path, &second.source_name, second.field, rule));
            }
        }
        Ok(tensors)
    }

    /// One tensor, its position still relative to the data.
    fn tensor(&mut self, alignment: usize, names: &mut HashSet<String>) -> Result<Listed, LoadError> {
        let path = self.path;
        let at = self.at;
        let source_name = self.string("a tensor's name", MAX_NAME)?;
        let fail = |offset, rule: String| Err(LoadError::tensor(path, source_name, offset, rule));
        if source_name.is_empty() {
            return Err(self.malformed(at, "a tensor's name is empty"));
        }
        let name = names::canonical(self.architecture.as_deref(), source_name);
        if !names.insert(name.clone()) {
            return fail(at, "two tensors have this name".into());
        }
        let field = self.at;
        let axes = self.u32("a tensor's number of axes")?;
        if axes > MAX_AXES {
            return fail(field, format!("it has {axes} axes, at most {MAX_AXES} are allowed"));
        }
        let mut shape = Vec::with_capacity(axes as usize);
        for _ in 0..axes {
            let field = self.at;
            let extent = self.u64("a tensor's shape")?;
            match usize::try_from(extent) {
                Ok(extent) if extent > 0 => shape.push(extent),
                _ => return fail(field, format!("an axis has {extent} elements")),
            }
        }
        let field = self.at;
        let storage = Storage::of(self.u32("a tensor's type")?);
        // A tensor without axes is one value.
        let (row, outer) = shape.split_first().map_or((1, &[][..]), |(row, outer)| (*row, outer));
        let len = match storage.block() {
            Some((weights, bytes)) => {
                if !row.is_multiple_of(weights) {
                    let format = storage.name();
                    let rule = format!("its rows of {row} do not fill {format} blocks of {weights}");
                    return fail(field, rule);
                }
                let row_bytes = (row / weights).checked_mul(bytes);
                let len = outer.iter().try_fold(row_bytes, |bytes, axis| Some(bytes?.checked_mul(*axis)));
                let Some(Some(len)) = len else {
                    return fail(field, format!("its size in bytes overflows: shape {shape:?}"));
                };
                Some(len)
            }
            None => None,
        };
        let field = self.at;
        let offset = self.u64("a tensor's offset")?;
        let start = match usize::try_from(offset) {
            Ok(start) if start.is_multiple_of(alignment) => start,
            _ => {
                let rule = format!("its offset {offset} is not a multiple of the alignment {alignment}");
                return fail(field, rule);
            }
        };
        // GGUF lists the innermost axis first.
        shape.reverse();
        Ok(Listed { name, source_name: source_name.to_owned(), shape, storage, start, len, field })
    }
}

/// One entry of the tensor table.
struct Listed {
    /// The Hugging Face name.
    name: String,
    source_name: String,
    /// Outermost axis first.
    shape: Vec<usize>,
    storage: Storage,
    /// Start of the data: of the file once the table is complete.
    start: usize,
    /// Size of the data; `None` if the format's blocks are not known.
    len: Option<usize>,
    /// Position of the offset in the file.
    field: usize,
}
