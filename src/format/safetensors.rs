//! Safetensors files: reading untrusted headers, and writing new files.
//!
//! A file is 8 bytes of header length, a JSON header, and data that the tensors cover exactly: no
//! overlap, no gap, nothing after the last one. These are the format's own rules; they prevent a
//! second file from being hidden inside the first.

mod write;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

pub use write::{Dtype, SafetensorsBody, SafetensorsWriter};

use super::{LoadError, TensorInfo, UnreadTensor};
use crate::quant::Quant;

/// Maximum size of the header in bytes, from the format's reference implementation.
const MAX_HEADER: u64 = 100_000_000;
/// Maximum number of tensors in one file; the largest shards have a few thousand.
const MAX_TENSORS: usize = 1 << 17;
/// Maximum number of axes of a tensor that can be read; weights have one or two.
const MAX_AXES: usize = 8;

/// The tensors of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Those that can be read, in the order of their data.
    pub tensors: Vec<TensorInfo>,
    /// Those in other formats, in the order of their data.
    pub unread: Vec<UnreadTensor>,
}

/// Parses the header of the safetensors file `bytes` and checks every tensor against the file's
/// length; `path` is for messages, and `file` is the file's index in the checkpoint.
///
/// # Errors
///
/// [`LoadError::Malformed`] and [`LoadError::MalformedTensor`] if the header breaks the format.
pub fn parse(path: &Path, bytes: &[u8], file: usize) -> Result<Parsed, LoadError> {
    let total = bytes.len();
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else {
        let rule = format!("the header's length needs 8 bytes, the file has {total}");
        return Err(LoadError::malformed(path, 0, rule));
    };
    let header_len = u64::from_le_bytes(*len);
    if header_len > MAX_HEADER {
        let rule = format!("the header has {header_len} bytes, at most {MAX_HEADER} are allowed");
        return Err(LoadError::malformed(path, 0, rule));
    }
    let Some(json) = rest.get(..header_len as usize) else {
        let rule = format!("the header has {header_len} bytes, but the file ends at byte {total}");
        return Err(LoadError::malformed(path, 0, rule));
    };
    let header: Header =
        serde_json::from_slice(json).map_err(|error| LoadError::json(path, 8, json, &error))?;
    if header.tensors.len() > MAX_TENSORS {
        let rule = format!("{} tensors, at most {MAX_TENSORS} are allowed", header.tensors.len());
        return Err(LoadError::malformed(path, 8, rule));
    }
    let data = 8 + json.len();
    let mut tensors = header
        .tensors
        .into_iter()
        .map(|(name, entry)| entry.check(path, name, data, total))
        .collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by_key(|tensor| (tensor.start, tensor.len));
    let mut end = data;
    let mut last = "";
    for tensor in &tensors {
        if tensor.start < end {
            let rule = format!("its data overlaps that of `{last}`");
            return Err(LoadError::tensor(path, &tensor.name, tensor.start, rule));
        }
        if tensor.start > end {
            let rule = format!("{} bytes before its data belong to no tensor", tensor.start - end);
            return Err(LoadError::tensor(path, &tensor.name, tensor.start, rule));
        }
        (end, last) = (tensor.start + tensor.len, &tensor.name);
    }
    if end != total {
        let rule = format!("{} bytes after the last tensor belong to none", total - end);
        return Err(LoadError::malformed(path, end, rule));
    }
    let mut parsed = Parsed::default();
    for Listed { name, kind, start, len } in tensors {
        let source_name = name.clone();
        match kind {
            Ok((quant, shape)) => parsed.tensors.push(TensorInfo {
                name,
                source_name,
                shape,
                quant,
                rope_permuted: false,
                file,
                start,
                len,
            }),
            Err(why) => parsed.unread.push(UnreadTensor { name, source_name, why }),
        }
    }
    Ok(parsed)
}

/// The JSON header in the file's order. Duplicate names are refused; most JSON parsers would silently
/// keep only the last.
struct Header {
    tensors: Vec<(String, Entry)>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut seen = std::collections::HashSet::new();
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let shown = super::error::printable(&name);
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{shown}` appears twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<HashMap<String, String>>().map_err(|error| {
                            A::Error::custom(format!("`__metadata__` must map text to text: {error}"))
                        })?;
                    } else {
                        let entry = map
                            .next_value()
                            .map_err(|error| A::Error::custom(format!("tensor `{shown}`: {error}")))?;
                        tensors.push((name, entry));
                    }
                }
                Ok(Header { tensors })
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A tensor, its position checked.
struct Listed {
    name: String,
    /// Format and shape, or why it cannot be read.
    kind: Result<(Quant, Vec<usize>), String>,
    /// In bytes from the file's start.
    start: usize,
    len: usize,
}

impl Entry {
    /// The tensor, with its position in a file of `total` bytes whose data starts at byte `data`.
    fn check(self, path: &Path, name: String, data: usize, total: usize) -> Result<Listed, LoadError> {
        let (begin, end) = self.data_offsets;
        let fail = |offset: usize, rule: String| Err(LoadError::tensor(path, &name, offset, rule));
        if name.is_empty() {
            return fail(8, "its name is empty".into());
        }
        if begin > end {
            return fail(8, format!("its data_offsets [{begin}, {end}] run backwards"));
        }
        if end > (total - data) as u64 {
            let len = total - data;
            return fail(8, format!("its data ends at {end}, but the file holds {len} bytes of data"));
        }
        // Both are at most `total` now.
        let (start, len) = (data + begin as usize, (end - begin) as usize);
        let quant = match self.dtype.as_str() {
            "F32" => Quant::F32,
            "F16" => Quant::F16,
            "BF16" => Quant::Bf16,
            other => {
                let why = format!("has format {}, which Parr does not read", super::error::printable(other));
                return Ok(Listed { name, kind: Err(why), start, len });
            }
        };
        if self.shape.len() > MAX_AXES {
            let why = format!("has {} axes, more than {MAX_AXES}", self.shape.len());
            return Ok(Listed { name, kind: Err(why), start, len });
        }
        let mut shape = Vec::with_capacity(self.shape.len());
        let mut bytes = Some(quant.block_bytes());
        for extent in &self.shape {
            let extent = usize::try_from(*extent).ok();
            bytes = bytes.zip(extent).and_then(|(bytes, extent)| bytes.checked_mul(extent));
            shape.extend(extent);
        }
        match bytes {
            None => fail(start, format!("its size in bytes overflows: {:?}", self.shape)),
            Some(bytes) if bytes != len => {
                fail(start, format!("its shape {shape:?} needs {bytes} bytes of {quant}, its data has {len}"))
            }
            Some(_) => Ok(Listed { name, kind: Ok((quant, shape)), start, len }),
        }
    }
}
