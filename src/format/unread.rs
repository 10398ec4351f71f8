//! Tensors that this library cannot read. They stop a load only if the model uses them.

use std::path::Path;

use super::LoadError;
use crate::quant::Quant;

/// A tensor in a format that this library does not read. It is an error only for a model that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadTensor {
    /// The Hugging Face name, as [`TensorInfo::name`](super::TensorInfo::name).
    pub name: String,
    /// The name in the file.
    pub source_name: String,
    /// Why it cannot be read: `has format IQ1_S, which Parr does not read`.
    pub why: String,
}

impl UnreadTensor {
    /// The error for a use of the tensor, which is in file `path`.
    pub fn error(&self, path: &Path) -> LoadError {
        let known = Quant::ALL.iter().map(|quant| quant.name()).collect::<Vec<_>>().join(" ");
        let formats = if path.extension().is_some_and(|extension| extension == "safetensors") {
            "F32, F16 or BF16".to_owned()
        } else {
            format!("one of the formats {known}")
        };
        let name = super::error::printable(&self.source_name);
        LoadError::unsupported(
            path,
            format!("tensor `{name}` {}", self.why),
            format!("use a copy of the model whose weights have {formats}"),
        )
    }
}
