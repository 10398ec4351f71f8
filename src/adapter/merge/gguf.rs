//! Merging a GGUF file into a new GGUF file.

use super::{Merger, Tensor};
use crate::adapter::AdapterFileError;
use crate::format::gguf::{Gguf, GgufWriter, Value, is_about_parts};
use crate::output::{self, Mark};

pub(super) fn write(merger: &mut Merger, gguf: &Gguf, tensors: &[Tensor]) -> Result<(), AdapterFileError> {
    let (base, out) = (merger.base, merger.out);
    let occupied = |rule: &str| AdapterFileError::Occupied { path: out.to_owned(), rule: rule.to_owned() };
    if out.is_dir() {
        return Err(occupied("it is a directory, but the merged model is one file"));
    }
    if output::not_an_input(out, &[base.path()]).is_err() {
        return Err(occupied("it is the base itself"));
    }
    output::check(out, Mark::Gguf, &[]).map_err(|error| occupied(&error.to_string()))?;
    let mut writer = GgufWriter::new();
    writer.set(output::GGUF_KEY, Value::String(output::PARR.to_owned()));
    // The merged model is one file, even if the base has several parts.
    for (key, value) in gguf.metadata().filter(|(key, _)| !is_about_parts(key)) {
        writer.set(key, value.clone());
    }
    let written = || {
        for Tensor { info, quant, .. } in tensors {
            writer.declare(&info.source_name, &info.shape, *quant)?;
        }
        output::write(out, Mark::Gguf, &[base.path()], |file| {
            let mut body = writer.start(file)?;
            for tensor in tensors {
                merger.bytes(tensor, |bytes| body.tensor(bytes))?;
            }
            body.finish().map(drop)
        })
    };
    written().map_err(|error| AdapterFileError::write(out, error))
}
