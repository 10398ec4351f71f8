//! Merging: replaces `W` by `W + scale B A` and leaves everything else unchanged.

mod directory;
mod gguf;

use std::ops::ControlFlow;
use std::path::Path;

use super::stored::{module, place};
use super::{Adapter, AdapterFileError};
use crate::format::{Checkpoint, TensorInfo};
use crate::model::ModelConfig;
use crate::model::lora::{LoraPair, ModuleNames};
use crate::quant::Quant;

/// How to store merged matrices.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeOptions {
    /// Format of the merged matrices; `None` keeps the format of each. If its blocks do not divide a row,
    /// `q8_0` or else `f16` is used. A directory of safetensors holds f32, f16 and bf16 only.
    pub quant: Option<Quant>,
}

/// Progress of a merge.
#[derive(Clone, Copy, Debug)]
pub struct MergeProgress {
    /// Bytes of the base that are merged or copied so far.
    pub done_bytes: u64,
    /// Total bytes of the base.
    pub total_bytes: u64,
}

/// Writes the model `base` with `adapter` merged into it to `out`, and returns the number of merged
/// matrices.
///
/// A GGUF base gives a GGUF file. At `out` it replaces only a GGUF file that Parr wrote. A Hugging Face directory gives a
/// new directory with one safetensors file, the configuration and the tokenizer. Matrices that the adapter
/// does not change are copied byte for byte, as is the metadata; a GGUF file gets one key more, the mark of an output. Merged matrices are encoded in their own
/// format, or in [`MergeOptions::quant`]. A coarse format loses most of a small change by rounding, so
/// `f16` or `q8_0` are closer to the unmerged adapter than `q4_0`.
///
/// Only one tensor at a time is in memory. The output appears complete or not at all. `progress` is called after
/// each tensor, and cancels the merge by [`ControlFlow::Break`].
///
/// # Errors
///
/// * [`AdapterFileError::Cancelled`] if `progress` cancels. Nothing is left at `out` or beside it.
/// * [`AdapterFileError::Load`] if the base is damaged or an unsupported model.
/// * [`AdapterFileError::Fit`] if the adapter was made for another model.
/// * [`AdapterFileError::Occupied`] if `out` is the base itself, a file that Parr did not write, or a directory that is
///   not empty.
/// * [`AdapterFileError::Unwritable`] for a scalar head, a format that safetensors does not support, and
///   a merged value that the format cannot hold.
/// * [`AdapterFileError::Io`] if writing fails.
pub fn merge(
    base: &Checkpoint,
    adapter: &Adapter,
    out: &Path,
    options: &MergeOptions,
    progress: &mut dyn FnMut(MergeProgress) -> ControlFlow<()>,
) -> Result<usize, AdapterFileError> {
    let config = ModelConfig::from_checkpoint(base)?;
    // The result holds every tensor of the base, used or not.
    base.need_all_tensors()?;
    adapter.check(base.path(), &config)?;
    if adapter.head.is_some() {
        let what = "a merged model has no place for the adapter's scalar head";
        return Err(AdapterFileError::unwritable(out, what, "keep base and adapter apart"));
    }
    for (layer, pairs) in adapter.weights.layers.iter().enumerate() {
        for &projection in pairs.keys() {
            let (outputs, inputs) = projection.shape(&config);
            let name = format!("{}.weight", module(ModuleNames::Llama, layer, projection));
            if base.is_joined(&name) {
                let what = format!("`{name}` is a part of a tensor that joins several");
                return Err(AdapterFileError::unwritable(out, what, "keep base and adapter apart"));
            }
            base.need_tensor(&name, &[outputs, inputs])?;
        }
    }
    let mut tensors: Vec<Tensor> = base
        .tensors()
        .map(|info| {
            let place = info.name.strip_suffix(".weight").and_then(|name| place(ModuleNames::Llama, name));
            let pair = place.and_then(|(layer, projection)| {
                adapter.weights.layers.get(layer).and_then(|pairs| pairs.get(&projection))
            });
            let quant = match (pair, options.quant) {
                (Some(_), Some(quant)) => quant.fitting(info.cols()),
                _ => info.quant,
            };
            Tensor { info, pair, quant }
        })
        .collect();
    if base.gguf().is_none() {
        // Larger types first keep all data of a safetensors file aligned; GGUF aligns tensors itself.
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.quant.block_bytes()));
    }
    let merged = tensors.iter().filter(|tensor| tensor.pair.is_some()).count();
    let total_bytes = tensors.iter().map(|tensor| tensor.info.byte_len() as u64).sum();
    let mut merger = Merger {
        base,
        out,
        scale: adapter.weights.config.scale(),
        rank: adapter.weights.config.rank,
        head_dim: config.head_dim,
        progress,
        done_bytes: 0,
        total_bytes,
    };
    match base.gguf() {
        Some(gguf) => gguf::write(&mut merger, gguf, &tensors)?,
        None => directory::write(&mut merger, &tensors)?,
    }
    Ok(merged)
}

/// One tensor of the output.
struct Tensor<'a> {
    /// The tensor of the base.
    info: &'a TensorInfo,
    /// The factors that are merged into it.
    pair: Option<&'a LoraPair>,
    /// Its format in the output.
    quant: Quant,
}

struct Merger<'a> {
    base: &'a Checkpoint,
    out: &'a Path,
    scale: f32,
    rank: usize,
    head_dim: usize,
    progress: &'a mut dyn FnMut(MergeProgress) -> ControlFlow<()>,
    done_bytes: u64,
    total_bytes: u64,
}

impl Merger<'_> {
    /// Passes the output bytes of `tensor` to `write`.
    fn bytes<E: From<AdapterFileError>>(
        &mut self,
        tensor: &Tensor,
        write: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match tensor.pair {
            Some(pair) => write(&self.merged(tensor, pair)?)?,
            None => write(self.base.bytes(tensor.info))?,
        }
        self.done_bytes += tensor.info.byte_len() as u64;
        let done = MergeProgress { done_bytes: self.done_bytes, total_bytes: self.total_bytes };
        match (self.progress)(done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(AdapterFileError::Cancelled.into()),
        }
    }

    /// `W + scale B A`, row by row, encoded.
    fn merged(&self, tensor: &Tensor, pair: &LoraPair) -> Result<Vec<u8>, AdapterFileError> {
        let Tensor { info, quant, .. } = *tensor;
        let (rows, cols) = (info.rows(), info.cols());
        let stored = self.base.bytes(info);
        let mut values = vec![0.0; cols];
        let mut delta = vec![0.0; cols];
        let mut bytes = Vec::with_capacity(rows * quant.row_bytes(cols).unwrap_or(0));
        for (row, stored) in stored.chunks_exact(stored.len() / rows).enumerate() {
            info.quant.decode(stored, &mut values);
            let canonical = info.row_in_halves(row, self.head_dim);
            delta.fill(0.0);
            let b = &pair.b[canonical * self.rank..(canonical + 1) * self.rank];
            for (b, a) in b.iter().zip(pair.a.chunks_exact(cols)) {
                for (sum, a) in delta.iter_mut().zip(a) {
                    *sum += b * a;
                }
            }
            for (value, delta) in values.iter_mut().zip(&delta) {
                *value += self.scale * delta;
            }
            let start = bytes.len();
            quant.encode(&values, &mut bytes);
            self.check(info, quant, row, &bytes[start..], &mut values)?;
        }
        Ok(bytes)
    }

    /// Checks that an encoded row is finite. A value that is too large for the format, or was not finite in
    /// the base, must not be written silently.
    fn check(
        &self,
        info: &TensorInfo,
        quant: Quant,
        row: usize,
        bytes: &[u8],
        values: &mut [f32],
    ) -> Result<(), AdapterFileError> {
        quant.decode(bytes, values);
        let Some(at) = values.iter().position(|value| !value.is_finite()) else {
            return Ok(());
        };
        let name = &info.source_name;
        let what = format!("value {at} of row {row} of the merged `{name}` is {} in {quant}", values[at]);
        Err(AdapterFileError::unwritable(self.out, what, "choose a wider format, or a smaller alpha"))
    }
}
