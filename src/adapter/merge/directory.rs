//! Merging a Hugging Face directory into a new directory.

use std::{fs, io};

use super::{Merger, Tensor};
use crate::adapter::AdapterFileError;
use crate::atomic;
use crate::format::hf_names;
use crate::format::safetensors::{Dtype, SafetensorsWriter};
use crate::quant::Quant;

/// The files of a model other than its weights.
const COPIED: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

pub(super) fn write(merger: &mut Merger, tensors: &[Tensor]) -> Result<(), AdapterFileError> {
    let (base, out) = (merger.base, merger.out);
    let mut types = Vec::with_capacity(tensors.len());
    for Tensor { info, quant, .. } in tensors {
        types.push(dtype(*quant).ok_or_else(|| {
            let what = format!("`{}` would be {quant}, which safetensors does not support", info.name);
            AdapterFileError::unwritable(out, what, "choose f32, f16 or bf16, or merge into a gguf base")
        })?);
    }
    let fill = |folder: &std::path::Path| {
        for name in COPIED {
            if let Some(file) = base.file_beside(name) {
                // Not `fs::copy`, which would make the copy of a read-only file read-only too.
                fs::write(folder.join(name), fs::read(file)?)?;
            }
        }
        let mut writer = SafetensorsWriter::new();
        // Transformers refuses a file without it.
        writer.set("format", "pt");
        let names =
            hf_names::of_model_type(base.config_json().and_then(|config| config["model_type"].as_str()));
        for (Tensor { info, .. }, dtype) in tensors.iter().zip(&types) {
            let name = names.map_or_else(|| info.name.clone(), |names| names.own(&info.name));
            writer.declare(&name, *dtype, &info.shape)?;
        }
        atomic::write(&folder.join("model.safetensors"), |file| {
            let mut body = writer.start(file)?;
            for tensor in tensors {
                merger.bytes(tensor, |bytes| body.data(bytes))?;
            }
            body.finish().map(drop)
        })
    };
    atomic::write_directory(out, false, fill).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => occupied(out, "the directory is not empty"),
        io::ErrorKind::NotADirectory => occupied(out, "it is a file, but the merged model is a directory"),
        _ => AdapterFileError::write(out, error),
    })
}

fn occupied(out: &std::path::Path, rule: &str) -> AdapterFileError {
    AdapterFileError::Occupied { path: out.to_owned(), rule: rule.to_owned() }
}

fn dtype(quant: Quant) -> Option<Dtype> {
    match quant {
        Quant::F32 => Some(Dtype::F32),
        Quant::F16 => Some(Dtype::F16),
        Quant::Bf16 => Some(Dtype::Bf16),
        _ => None,
    }
}
