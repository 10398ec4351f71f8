//! Writes safetensors files, in pieces.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use serde_json::{Map, Value, json};

/// The type of the values of a tensor to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the format's type of the same name")]
pub enum Dtype {
    F32,
    F16,
    Bf16,
    I64,
}

impl Dtype {
    /// The format's name for the type: `F32`, `BF16`, ...
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::I64 => "I64",
        }
    }

    /// Size of one value, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
            Dtype::I64 => 8,
        }
    }
}

/// A safetensors file to be written. First the header is declared, then the data is streamed, so that
/// not even one whole tensor needs to be in memory.
///
/// # Examples
///
/// ```
/// use parr::format::safetensors::{self, Dtype, SafetensorsWriter};
///
/// let mut writer = SafetensorsWriter::new();
/// writer.declare("model.norm.weight", Dtype::F32, &[2])?;
/// let mut body = writer.start(Vec::new())?;
/// body.data(bytemuck::cast_slice(&[1.0f32, 2.0]))?;
/// let file = body.finish()?;
///
/// let parsed = safetensors::parse("example.safetensors".as_ref(), &file, 0)?;
/// assert_eq!(parsed.tensors[0].shape, [2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SafetensorsWriter {
    metadata: BTreeMap<String, String>,
    header: Map<String, Value>,
    names: HashSet<String>,
    end: usize,
}

/// The second half of writing a safetensors file: the tensors' data, in the order they were declared.
#[derive(Debug)]
pub struct SafetensorsBody<W> {
    out: W,
    /// Bytes that are still to be written.
    left: usize,
}

impl SafetensorsWriter {
    /// An empty file.
    pub fn new() -> SafetensorsWriter {
        SafetensorsWriter::default()
    }

    /// Sets metadata `key`, replacing any earlier text. Transformers requires `format` to be `pt`.
    pub fn set(&mut self, key: &str, text: &str) {
        self.metadata.insert(key.to_owned(), text.to_owned());
    }

    /// Adds a tensor. Data is in the order of declaration; declare larger types first to keep it aligned.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the name is taken, empty or reserved, or the size overflows.
    pub fn declare(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> io::Result<()> {
        let invalid =
            |rule: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("tensor `{name}` {rule}"));
        if name.is_empty() || name == "__metadata__" || !self.names.insert(name.to_owned()) {
            return Err(invalid("is declared twice, or its name is empty or reserved"));
        }
        let bytes = shape.iter().try_fold(dtype.bytes(), |bytes, axis| bytes.checked_mul(*axis));
        let end =
            bytes.and_then(|bytes| self.end.checked_add(bytes)).ok_or_else(|| invalid("is too large"))?;
        let offsets = [self.end, end];
        self.header.insert(
            name.to_owned(),
            json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": offsets }),
        );
        self.end = end;
        Ok(())
    }

    /// Writes the header to `out`; the data follows through the returned body.
    ///
    /// # Errors
    ///
    /// Any error of writing to `out`.
    pub fn start<W: Write>(mut self, mut out: W) -> io::Result<SafetensorsBody<W>> {
        if !self.metadata.is_empty() {
            self.header.insert("__metadata__".to_owned(), json!(self.metadata));
        }
        let mut header = Value::Object(self.header).to_string();
        // Data starts at a multiple of 8 bytes; readers take the blanks as part of the JSON.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        Ok(SafetensorsBody { out, left: self.end })
    }
}

impl<W: Write> SafetensorsBody<W> {
    /// Writes the next bytes of data: a tensor, a part of one, or several.
    ///
    /// # Errors
    ///
    /// Any error of writing, and [`io::ErrorKind::InvalidInput`] for more data than was declared.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let invalid =
            || io::Error::new(io::ErrorKind::InvalidInput, "more data is written than was declared");
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(invalid)?;
        self.out.write_all(bytes)
    }

    /// Flushes and returns the output.
    ///
    /// # Errors
    ///
    /// Any error of flushing, and [`io::ErrorKind::InvalidInput`] if declared data is missing.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            let rule = format!("{} bytes were declared but not written", self.left);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
