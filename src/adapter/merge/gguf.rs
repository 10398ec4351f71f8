//! Merging a GGUF file into a new GGUF file.

use std::fs;

use super::{Merger, Tensor};
use crate::adapter::AdapterFileError;
use crate::atomic;
use crate::format::gguf::{Gguf, GgufWriter};

pub(super) fn write(merger: &mut Merger, gguf: &Gguf, tensors: &[Tensor]) -> Result<(), AdapterFileError> {
    let (base, out) = (merger.base, merger.out);
    let occupied = |rule: &str| AdapterFileError::Occupied { path: out.to_owned(), rule: rule.to_owned() };
    if out.is_dir() {
        return Err(occupied("it is a directory, but the merged model is one file"));
    }
    if let (Ok(out), Ok(base)) = (fs::canonicalize(out), fs::canonicalize(base.path()))
        && out == base
    {
        return Err(occupied("it is the base itself"));
    }
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata() {
        writer.set(key, value.clone());
    }
    let written = || {
        for Tensor { info, quant, .. } in tensors {
            writer.declare(&info.source_name, &info.shape, *quant)?;
        }
        atomic::write(out, |file| {
            let mut body = writer.start(file)?;
            for tensor in tensors {
                merger.bytes(tensor, |bytes| body.tensor(bytes))?;
            }
            body.finish().map(drop)
        })
    };
    written().map_err(|error| AdapterFileError::write(out, error))
}
