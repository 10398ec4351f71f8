//! Writes GGUF files, version 3, one tensor at a time.

use std::io::{self, Write};

use super::read::{DEFAULT_ALIGNMENT, MAGIC};
use super::value::{Array, Value};
use crate::quant::Quant;

/// A GGUF file to be written. First the header is declared, then the tensors are streamed, so that
/// no more than one tensor needs to be in memory.
///
/// # Examples
///
/// ```
/// use parr::format::gguf::{Gguf, GgufWriter, Value};
/// use parr::quant::Quant;
///
/// let mut writer = GgufWriter::new();
/// writer.set("general.architecture", Value::String("llama".into()));
/// writer.declare("output_norm.weight", &[2], Quant::F32)?;
/// let mut file = Vec::new();
/// let mut body = writer.start(&mut file)?;
/// body.tensor(bytemuck::cast_slice(&[1.0f32, 2.0]))?;
/// body.finish()?;
///
/// let gguf = Gguf::parse("example.gguf".as_ref(), &file)?;
/// assert_eq!(gguf.tensors()[0].name, "model.norm.weight");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct GgufWriter {
    entries: Vec<(String, Value)>,
    tensors: Vec<Declared>,
}

#[derive(Clone, Debug)]
struct Declared {
    name: String,
    /// Outermost axis first.
    shape: Vec<usize>,
    quant: Quant,
    len: usize,
}

/// The second half of writing a GGUF file: the tensors' data, in the order they were declared.
#[derive(Debug)]
pub struct GgufBody<W> {
    out: W,
    tensors: std::vec::IntoIter<Declared>,
    alignment: usize,
}

impl GgufWriter {
    /// An empty file.
    pub fn new() -> GgufWriter {
        GgufWriter::default()
    }

    /// Sets metadata `key`, replacing any earlier value.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Adds a tensor under its GGUF name (`blk.0.attn_q.weight`); `shape` is outermost axis first.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the name is taken, or the shape is empty or does not fill
    /// whole blocks of `quant`.
    pub fn declare(&mut self, name: &str, shape: &[usize], quant: Quant) -> io::Result<()> {
        let invalid =
            |rule: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("tensor `{name}` {rule}"));
        if self.tensors.iter().any(|tensor| tensor.name == name) {
            return Err(invalid("is declared twice"));
        }
        let (cols, outer) = shape.split_last().ok_or_else(|| invalid("has no axes"))?;
        if shape.contains(&0) || shape.len() > 4 {
            return Err(invalid("must have one to four axes, each of at least one element"));
        }
        let len = quant
            .row_bytes(*cols)
            .and_then(|row| outer.iter().try_fold(row, |bytes, axis| bytes.checked_mul(*axis)))
            .ok_or_else(|| invalid(&format!("of shape {shape:?} does not fill {quant} blocks")))?;
        self.tensors.push(Declared { name: name.to_owned(), shape: shape.to_vec(), quant, len });
        Ok(())
    }

    /// Writes the header to `out`; the tensors' data follows through the returned body.
    ///
    /// # Errors
    ///
    /// Any error of writing to `out`, and [`io::ErrorKind::InvalidInput`] for a
    /// `general.alignment` that is not a power of two.
    pub fn start<W: Write>(self, mut out: W) -> io::Result<GgufBody<W>> {
        let alignment = match self.entries.iter().find(|(key, _)| key == "general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some((_, Value::U32(alignment))) if alignment.is_power_of_two() => *alignment as usize,
            Some(_) => {
                let rule = "`general.alignment` must be a power of two as u32";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
            }
        };
        let mut header = Vec::new();
        header.extend(MAGIC);
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            put_string(&mut header, key);
            header.extend(value.type_id().to_le_bytes());
            put_value(&mut header, value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            put_string(&mut header, &tensor.name);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            for axis in tensor.shape.iter().rev() {
                header.extend((*axis as u64).to_le_bytes());
            }
            header.extend(tensor.quant.ggml_type().to_le_bytes());
            header.extend((offset as u64).to_le_bytes());
            offset = (offset + tensor.len).next_multiple_of(alignment);
        }
        header.resize(header.len().next_multiple_of(alignment), 0);
        out.write_all(&header)?;
        Ok(GgufBody { out, tensors: self.tensors.into_iter(), alignment })
    }
}

impl<W: Write> GgufBody<W> {
    /// Writes the data of the next declared tensor.
    ///
    /// # Errors
    ///
    /// Any error of writing, and [`io::ErrorKind::InvalidInput`] if no tensor is left or `bytes`
    /// does not have the declared tensor's length.
    pub fn tensor(&mut self, bytes: &[u8]) -> io::Result<()> {
        let invalid = |rule: String| Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
        let Some(tensor) = self.tensors.next() else {
            return invalid("more tensors are written than were declared".into());
        };
        if bytes.len() != tensor.len {
            let (name, len, found) = (tensor.name, tensor.len, bytes.len());
            return invalid(format!("tensor `{name}` was declared with {len} bytes, not {found}"));
        }
        self.out.write_all(bytes)?;
        let padding = tensor.len.next_multiple_of(self.alignment) - tensor.len;
        self.out.write_all(&vec![0; padding])
    }

    /// Flushes and returns the output.
    ///
    /// # Errors
    ///
    /// Any error of flushing, and [`io::ErrorKind::InvalidInput`] if a declared tensor was not written.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(tensor) = self.tensors.next() {
            let rule = format!("tensor `{}` was declared but not written", tensor.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.extend(v.to_le_bytes()),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(v) => put_array(out, v),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.type_id().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(v) => out.extend(v),
        Array::I8(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::U16(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::I16(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::U32(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::I32(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::F32(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::Bool(v) => out.extend(v.iter().map(|v| u8::from(*v))),
        Array::String(v) => v.iter().for_each(|v| put_string(out, v)),
        Array::Array(v) => v.iter().for_each(|v| put_array(out, v)),
        Array::U64(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::I64(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::F64(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
    }
}
