//! Where a forward pass first computes NaN or infinity: a second pass, part by part, after a fault was seen.

use std::fmt;

use super::config::{BIASED, BIASED_CONV};
use super::forward::{BatchShape, Workspace, layer_rows};
use super::kv_cache::{KvCache, Past};
use super::lora::AdapterBank;
use super::{
    Model, record_down, record_embedding, record_ffn, record_final_norm, record_logits, record_mixer,
};
use crate::format::Checkpoint;
use crate::gpu::Recording;
use crate::ops::{Activation, KvFormat, ShapeError};

/// The part of a forward pass in which NaN or infinite values first appear.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// The rows of the embedding.
    Embedding,
    /// The attention half of a layer, counted from 0 as in the names of tensors.
    Attention {
        /// The layer.
        layer: usize,
    },
    /// The half of a layer with a short convolution in place of attention.
    Convolution {
        /// The layer.
        layer: usize,
    },
    /// Keys or values of a layer that an f16 cache cannot hold, although they are finite.
    Cache {
        /// The layer.
        layer: usize,
        /// Whether they are keys; values otherwise, or what a convolution keeps in their place.
        keys: bool,
        /// Largest magnitude among them.
        largest: f32,
    },
    /// The feed-forward half of a layer.
    FeedForward {
        /// The layer.
        layer: usize,
    },
    /// The norm after the last layer.
    FinalNorm,
    /// The matrix that turns hidden states into logits.
    Output,
    /// The scalar head of an adapter.
    ScalarHead,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Embedding => f.write_str("the embedding"),
            Part::Attention { layer } => write!(f, "layer {layer} (attention)"),
            Part::Convolution { layer } => write!(f, "layer {layer} (convolution)"),
            Part::Cache { layer, keys: true, .. } => write!(f, "layer {layer} (keys)"),
            Part::Cache { layer, keys: false, .. } => write!(f, "layer {layer} (values)"),
            Part::FeedForward { layer } => write!(f, "layer {layer} (feed-forward)"),
            Part::FinalNorm => f.write_str("the final norm"),
            Part::Output => f.write_str("the output head"),
            Part::ScalarHead => f.write_str("the adapter's scalar head"),
        }
    }
}

/// Runs the batch that `work` describes part by part, reading each result back. Returns the first part with
/// a value that is not finite, and the row of the batch. `logits` states whether the output matrix counts.
///
/// `rows_at` is what `work.rows_at` holds. Keys and values go to `cache`.
pub(crate) fn first_fault(
    model: &Model,
    cache: &KvCache,
    work: &Workspace,
    bank: Option<&AdapterBank>,
    batch: BatchShape,
    rows_at: &[[u32; 2]],
    logits: bool,
) -> Result<Option<(Part, usize)>, ShapeError> {
    let rows = layer_rows(cache, work, bank, batch);
    let n = batch.rows;
    let run = |record: &dyn Fn(&mut Recording) -> Result<(), ShapeError>| -> Result<(), ShapeError> {
        let mut rec = Recording::new(model.device());
        record(&mut rec)?;
        Ok(rec.submit()?)
    };
    run(&|rec| record_embedding(rec, model, &work.ids, &work.x, n))?;
    if let Some(row) = bad_row(model, &work.x, n)? {
        return Ok(Some((Part::Embedding, row)));
    }
    for layer in 0..model.config().layers.len() {
        let past = cache.layer(layer);
        run(&|rec| record_mixer(rec, model, layer, &rows, work.block(), past, None, &work.x))?;
        if let Some(row) = bad_row(model, &work.x, n)? {
            let part = match past {
                Past::Attention { .. } => Part::Attention { layer },
                Past::Conv { .. } => Part::Convolution { layer },
            };
            let overflow = cache_overflow(model, cache, work, layer, rows_at)?;
            return Ok(Some(overflow.unwrap_or((part, row))));
        }
        run(&|rec| {
            record_ffn(rec, model, layer, &rows, work.block(), &work.x)?;
            record_down(rec, model, layer, &rows, work.block(), &work.x)
        })?;
        if let Some(row) = bad_row(model, &work.x, n)? {
            return Ok(Some((Part::FeedForward { layer }, row)));
        }
    }
    for from in (0..n).step_by(work.selected.rows) {
        let count = work.selected.rows.min(n - from);
        let stride = work.x.stride;
        run(&|rec| {
            rec.copy(&work.x.buffer, from * stride, &work.selected.buffer, 0, count * stride);
            if logits {
                return record_logits(rec, model, work, &work.selected, count);
            }
            record_final_norm(rec, model, &work.selected, &work.selected_normed, count)
        })?;
        if let Some(row) = bad_row(model, &work.selected_normed, count)? {
            return Ok(Some((Part::FinalNorm, from + row)));
        }
        if logits && let Some(row) = bad_row(model, &work.logits, count)? {
            return Ok(Some((Part::Output, from + row)));
        }
    }
    Ok(None)
}

/// The first of `rows` rows that holds a value that is not finite.
fn bad_row(model: &Model, x: &Activation, rows: usize) -> Result<Option<usize>, ShapeError> {
    let values = model.device().read(&x.buffer, 0, rows * x.stride)?;
    Ok(values.chunks_exact(x.stride).position(|row| row[..x.width].iter().any(|value| !value.is_finite())))
}

/// Keys or values of the batch, or inputs of a convolution, that are finite, but are NaN in an f16 cache.
fn cache_overflow(
    model: &Model,
    cache: &KvCache,
    work: &Workspace,
    layer: usize,
    rows_at: &[[u32; 2]],
) -> Result<Option<(Part, usize)>, ShapeError> {
    let shape = cache.shape();
    if shape.kv != KvFormat::F16 {
        return Ok(None);
    }
    let block = work.block();
    let kv_width = shape.kv_heads * shape.head_dim;
    let keys_at = shape.heads * shape.head_dim;
    // What enters the cache: whether keys, from which column on in the projection, and where it is stored.
    let (projected, stored) = match cache.layer(layer) {
        Past::Attention { k, v } => {
            (&block.attention().qkv, vec![(true, keys_at, k), (false, keys_at + kv_width, v)])
        }
        Past::Conv { u } => (&block.conv().bcx, vec![(false, 0, u)]),
    };
    if bad_row(model, projected, rows_at.len())?.is_some() {
        return Ok(None);
    }
    let values = model.device().read(&projected.buffer, 0, rows_at.len() * projected.stride)?;
    for (row, &[base, position]) in rows_at.iter().enumerate() {
        let row_values = &values[row * projected.stride..][..projected.width];
        for &(keys, from, stored) in &stored {
            let words = stored.len() / shape.positions();
            let at = (base + position) as usize * words;
            let words = model.device().read(stored, at, words)?;
            let halves = words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]);
            if halves.into_iter().any(|half| half & 0x7c00 == 0x7c00) {
                let largest = match cache.layer(layer) {
                    Past::Attention { .. } => {
                        let values = &row_values[from..][..kv_width];
                        values.iter().fold(0.0, |most: f32, value| most.max(value.abs()))
                    }
                    Past::Conv { .. } => {
                        let width = projected.width / 3;
                        let pairs = row_values[..width].iter().zip(&row_values[2 * width..]);
                        pairs.fold(0.0, |most: f32, (b, x)| most.max((b * x).abs()))
                    }
                };
                return Ok(Some((Part::Cache { layer, keys, largest }, row)));
            }
        }
    }
    Ok(None)
}

/// A tensor of `part` that holds NaN or infinity in the model's own file, with the row: the cause of a fault.
/// `None` if there is none, or the file cannot be read any more.
pub(crate) fn damaged_tensor(model: &Model, part: Part) -> Option<String> {
    let checkpoint = Checkpoint::open(model.path()?).ok()?;
    let config = model.config();
    let of_layer = |layer: usize, parts: &[&str]| -> Vec<String> {
        let names = parts.iter().map(|part| format!("model.layers.{layer}.{part}"));
        names.flat_map(|name| [format!("{name}.weight"), format!("{name}.bias")]).collect()
    };
    let norm = ["input_layernorm"];
    let attention =
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm", "self_attn.k_norm"];
    let feed_forward = ["post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
    let names = match part {
        Part::Embedding => vec!["model.embed_tokens.weight".to_owned()],
        Part::Attention { layer } => {
            [of_layer(layer, &norm), of_layer(layer, &attention), of_layer(layer, &BIASED[3..4])].concat()
        }
        Part::Convolution { layer } => [of_layer(layer, &norm), of_layer(layer, &BIASED_CONV)].concat(),
        Part::FeedForward { layer } => of_layer(layer, &feed_forward),
        Part::FinalNorm => vec!["model.norm.weight".to_owned()],
        Part::Output if config.tied => vec!["model.embed_tokens.weight".to_owned()],
        Part::Output => vec!["lm_head.weight".to_owned(), "lm_head.bias".to_owned()],
        Part::Cache { .. } | Part::ScalarHead => Vec::new(),
    };
    names.iter().filter_map(|name| checkpoint.tensor(name)).find_map(|info| {
        let (rows, cols) = (info.rows(), info.cols());
        let row_bytes = info.quant.row_bytes(cols)?;
        let mut values = vec![0.0; cols];
        let bytes = checkpoint.bytes(info).chunks_exact(row_bytes.max(1)).take(rows).enumerate();
        for (row, bytes) in bytes {
            info.quant.decode(bytes, &mut values);
            if let Some(column) = values.iter().position(|value| !value.is_finite()) {
                let found = values[column];
                let (name, path) = (&info.source_name, checkpoint.path().display());
                return Some(format!("`{name}` of {path} holds {found} in row {row}, column {column}"));
            }
        }
        None
    })
}
