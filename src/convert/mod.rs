//! Hugging Face directories as GGUF files.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use parr::convert::{ConvertOptions, convert};
//! use parr::format::Checkpoint;
//! use parr::quant::Quant;
//!
//! let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct".as_ref())?;
//! let options = ConvertOptions { quant: Some(Quant::Q4K), ..ConvertOptions::default() };
//! convert(&checkpoint, "smollm2-q4_k.gguf".as_ref(), &options, &mut |_| ControlFlow::Continue(()))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod metadata;
mod sentence_piece;
mod vocabulary;

use std::ops::ControlFlow;
use std::path::Path;

pub use error::ConvertError;

use crate::format::gguf::{GgufWriter, Value, gguf_name, half_split_row, rope_permuted};
use crate::format::{Checkpoint, TensorInfo};
use crate::model::ModelConfig;
use crate::output::{self, Mark};
use crate::quant::Quant;

/// How to store the weights.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// Format of matrices. `None` keeps that of each. If its blocks do not divide a row, `q8_0` or else `f16` is used.
    /// Vectors stay f32.
    pub quant: Option<Quant>,
    /// Format of the embedding and of the output matrix. `None` takes `q6_k` where `quant` is coarser, because errors in
    /// these matrices reach every token, and otherwise `quant`.
    pub output: Option<Quant>,
    /// The model's name in the file. `None` takes that of the directory.
    pub name: Option<String>,
}

/// Progress of a conversion.
#[derive(Clone, Copy, Debug)]
pub struct ConvertProgress {
    /// Bytes of the directory that are converted so far.
    pub done_bytes: u64,
    /// Total bytes of the tensors that are converted.
    pub total_bytes: u64,
}

/// What a conversion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Number of tensors in the file.
    pub tensors: usize,
    /// Names of the directory's tensors that GGUF has no place for, sorted.
    pub left_out: Vec<String>,
}

/// Writes the model in a Hugging Face directory to the GGUF file `out`, with tokenizer and chat template, in the way
/// llama.cpp reads it. One tensor at a time is in memory. The file appears whole or not at all, and replaces only one
/// that Parr wrote. `progress` is called after each tensor, and cancels by [`ControlFlow::Break`].
///
/// # Errors
///
/// * [`ConvertError::Cancelled`] if `progress` cancels. Nothing is left.
/// * [`ConvertError::Load`] if the directory is damaged, or holds an unsupported model.
/// * [`ConvertError::NoPlace`] for what a GGUF file cannot express.
/// * [`ConvertError::Text`] if the tokenizer cannot be written.
/// * [`ConvertError::Write`] if `out` cannot be written, or holds another program's file.
pub fn convert(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(ConvertProgress) -> ControlFlow<()>,
) -> Result<Converted, ConvertError> {
    let no_place = |what: &str, hint: &str| ConvertError::no_place(checkpoint.path(), what, hint);
    if checkpoint.config_json().is_none() {
        return Err(no_place("it is no Hugging Face directory", "name a directory with config.json"));
    }
    checkpoint.need_all_tensors().map_err(ConvertError::Load)?;
    let config = ModelConfig::from_checkpoint(checkpoint)?;
    let architecture = config.architecture;
    let mut writer = GgufWriter::new();
    writer.set(output::GGUF_KEY, Value::String(output::PARR.to_owned()));
    let extra = metadata::write(&mut writer, checkpoint, &config, options.name.as_deref())?;
    vocabulary::write(&mut writer, checkpoint, &config)?;

    let (mut tensors, mut left_out) = (Vec::new(), Vec::new());
    for info in checkpoint.tensors() {
        match gguf_name(Some(architecture.name()), &info.name) {
            // A tied output that is stored again is the embedding.
            Some(name) if !(config.tied && name == "output.weight") => {
                let permuted = rope_permuted(Some(architecture.name()), &name);
                tensors.push(Tensor { info, name, quant: format(options, info), permuted });
            }
            Some(_) => {}
            None => left_out.push(info.source_name.clone()),
        }
    }
    left_out.sort_unstable();
    let total_bytes = tensors.iter().map(|tensor| tensor.info.byte_len() as u64).sum();
    let mut done_bytes = 0;
    let write = |error: std::io::Error| ConvertError::write(out, error);
    for (name, values) in &extra {
        writer.declare(name, &[values.len()], Quant::F32).map_err(write)?;
    }
    for Tensor { info, name, quant, .. } in &tensors {
        writer.declare(name, &shape(info), *quant).map_err(write)?;
    }
    output::write(out, Mark::Gguf, &[checkpoint.path()], |file| {
        let mut body = writer.start(file)?;
        for (_, values) in &extra {
            body.tensor(bytemuck::cast_slice(values))?;
        }
        for tensor in &tensors {
            body.tensor(&tensor.bytes(checkpoint, &config))?;
            done_bytes += tensor.info.byte_len() as u64;
            if progress(ConvertProgress { done_bytes, total_bytes }).is_break() {
                return Err(ConvertError::Cancelled.into());
            }
        }
        body.finish().map(drop)
    })
    .map_err(write)?;
    Ok(Converted { tensors: tensors.len() + extra.len(), left_out })
}

/// The shape of a tensor in the file. PyTorch's convolutions have an axis of one channel, which llama.cpp leaves out.
fn shape(info: &TensorInfo) -> Vec<usize> {
    match info.shape[..] {
        [columns, 1, taps] if is_filter(info) => vec![columns, taps],
        _ => info.shape.clone(),
    }
}

/// Whether a tensor holds the taps of a convolution.
fn is_filter(info: &TensorInfo) -> bool {
    info.name.ends_with(".conv.conv.weight")
}

/// The format of a tensor in the file.
fn format(options: &ConvertOptions, info: &TensorInfo) -> Quant {
    // A filter is small, and its rows are too short for any block.
    if info.shape.len() < 2 || is_filter(info) {
        return Quant::F32;
    }
    let Some(quant) = options.quant else { return info.quant };
    let whole = info.name == "model.embed_tokens.weight" || info.name == "lm_head.weight";
    let wanted = match (whole, options.output) {
        (true, Some(output)) => output,
        (true, None) if bits(quant) < bits(Quant::Q6K) => Quant::Q6K,
        _ => quant,
    };
    wanted.fitting(info.cols())
}

/// Bits of a weight, about.
fn bits(quant: Quant) -> f64 {
    8.0 * quant.block_bytes() as f64 / quant.block_weights() as f64
}

/// A tensor of the file.
struct Tensor<'a> {
    info: &'a TensorInfo,
    /// Its name in GGUF files.
    name: String,
    quant: Quant,
    /// Whether its rows are in the order of interleaved rotary embedding.
    permuted: bool,
}

impl Tensor<'_> {
    /// Its data in the file.
    fn bytes(&self, checkpoint: &Checkpoint, config: &ModelConfig) -> Vec<u8> {
        let Tensor { info, quant, .. } = self;
        let stored = checkpoint.bytes(info);
        // Gemma's norms are stored minus 1 in directories only.
        let around_one = config.architecture.has_norms_around_one() && self.name.ends_with("norm.weight");
        if info.shape.len() < 2 {
            let mut values = vec![0.0; info.cols()];
            info.quant.decode(stored, &mut values);
            if around_one {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            let from = |at: usize| if self.permuted { half_split_row(at, config.head_dim) } else { at };
            let ordered: Vec<f32> = (0..values.len()).map(|at| values[from(at)]).collect();
            return bytemuck::cast_slice(&ordered).to_vec();
        }
        let (rows, cols) = (info.rows(), info.cols());
        let row_bytes = stored.len() / rows.max(1);
        let mut values = vec![0.0; cols];
        let mut bytes = Vec::new();
        for row in 0..rows {
            let from = if self.permuted { half_split_row(row, config.head_dim) } else { row };
            let stored = &stored[from * row_bytes..(from + 1) * row_bytes];
            if info.quant == *quant {
                bytes.extend_from_slice(stored);
                continue;
            }
            info.quant.decode(stored, &mut values);
            quant.encode(&values, &mut bytes);
        }
        bytes
    }
}
