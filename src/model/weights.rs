//! Loading a checkpoint's tensors as matrices on the device.

use std::borrow::Cow;
use std::collections::HashSet;

use super::config::{BIASED_CONV, HeadNorm, ModelConfig, Norms};
use super::lora::Site;
use crate::Error;
use crate::format::Checkpoint;
use crate::format::gguf::half_split_row;
use crate::gpu::{Buffer, Device};
use crate::ops::{KvFormat, LinearPart, ShortConvShape, Weight};
use crate::quant::Quant;

/// What mixes the positions in a layer.
#[derive(Debug)]
pub(crate) enum Mixer {
    Attention {
        /// `((heads + 2 kv_heads) head_dim, hidden)`.
        qkv: Weight,
        /// Norms of queries and keys, if the layer has them: `(head_dim)` each, or of the width of all heads.
        head_norms: Option<[Buffer<f32>; 2]>,
        /// `(hidden, heads * head_dim)`.
        o: Weight,
    },
    Conv {
        /// B, C and x: `(3 hidden, hidden)`.
        input: Weight,
        /// The filter, [`ShortConvShape::taps_len`] values.
        taps: Buffer<f32>,
        /// `(hidden, hidden)`.
        output: Weight,
    },
}

/// One decoder layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Norm before attention or convolution, `(hidden)`, padded to 32; `None` if the layer has none there.
    pub attention_norm: Option<Buffer<f32>>,
    pub mixer: Mixer,
    /// Norm before the feed-forward half, `(hidden)`, padded to 32; `None` if the layer has none there.
    pub ffn_norm: Option<Buffer<f32>>,
    /// Norms behind attention and behind the feed-forward half, `(hidden)`, padded to 32, if the layer has them.
    pub norms_after: Option<[Buffer<f32>; 2]>,
    /// `(2 ffn, hidden)`.
    pub gate_up: Weight,
    /// `(hidden, ffn)`.
    pub down: Weight,
}

impl Layer {
    /// The norm behind the half that ends with the matrices of `site`, and the index of that half.
    pub fn norm_after(&self, site: Site) -> (Option<&Buffer<f32>>, usize) {
        let half = usize::from(site == Site::Down);
        (self.norms_after.as_ref().map(|norms| &norms[half]), half)
    }
}

/// All weights of a model, on the device.
#[derive(Debug)]
pub(crate) struct Weights {
    /// `(vocabulary, hidden)`; the output head too, if tied.
    pub embedding: Weight,
    pub layers: Vec<Layer>,
    /// `(hidden)`, padded to 32.
    pub final_norm: Buffer<f32>,
    /// `(vocabulary, hidden)`, unless tied.
    pub head: Option<Weight>,
    pub bytes: u64,
    /// Device memory that products with them need beside them.
    pub operand_bytes: u64,
    /// Generation of the device that holds them.
    pub generation: u32,
}

impl Weights {
    /// The matrix that turns hidden states into logits.
    pub fn head(&self) -> &Weight {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Progress of a load.
#[derive(Clone, Copy, Debug)]
pub struct LoadProgress {
    /// Bytes of the checkpoint on the device so far.
    pub done_bytes: u64,
    /// Total bytes of the checkpoint.
    pub total_bytes: u64,
}

/// The source of matrices: a checkpoint or a seed.
pub(crate) trait WeightSource<'s> {
    /// The named matrix; an error if it is missing.
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix<'s>, Error>;
    /// The named vector of `len` values; an error if it is missing.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Error>;
    /// The named taps of a filter for each of `width` columns, `(width, taps)`; an error if they are missing.
    fn taps(&mut self, name: &str, width: usize, taps: usize) -> Result<Vec<f32>, Error>;
    /// Whether there is a tensor of that name.
    fn has(&self, name: &str) -> bool;
}

/// A matrix on the host.
pub(crate) struct Matrix<'a> {
    pub quant: Quant,
    pub bytes: Cow<'a, [u8]>,
}

/// Loads every weight of `config` from `source` onto `device`.
pub(crate) fn load<'s>(
    device: &Device,
    config: &ModelConfig,
    source: &mut dyn WeightSource<'s>,
) -> Result<Weights, Error> {
    let generation = device.generation();
    let operand_bytes = device.reserve_operand()?;
    let mut loader = Loader { device, source, bytes: 0 };
    let hidden = config.hidden;
    let q_width = config.heads * config.head_dim;
    let kv_width = config.kv_heads * config.head_dim;
    let embedding = loader.joined(&[("model.embed_tokens", config.vocab)], hidden)?;
    let mut layers = Vec::with_capacity(config.layers.len());
    for (index, described) in config.layers.iter().enumerate() {
        let layer = format!("model.layers.{index}");
        let attention = format!("{layer}.self_attn");
        let [q, k, v, o] = ["q", "k", "v", "o"].map(|part| format!("{attention}.{part}_proj"));
        let [gate, up, down] = ["gate", "up", "down"].map(|part| format!("{layer}.mlp.{part}_proj"));
        let mut norm = |name: Option<&str>| -> Result<Option<Buffer<f32>>, Error> {
            name.map(|name| loader.norm(&format!("{layer}.{name}.weight"), hidden)).transpose()
        };
        let [before_attention, after_attention, before_ffn, after_ffn] = norm_names(described.norms);
        let [attention_norm, ffn_norm] = [norm(before_attention)?, norm(before_ffn)?];
        let norms_after =
            norm(after_attention)?.zip(norm(after_ffn)?).map(|(attention, ffn)| [attention, ffn]);
        let mixer = match described.conv {
            Some(taps) => loader.conv(&layer, hidden, taps)?,
            None => Mixer::Attention {
                qkv: loader.joined(&[(&q, q_width), (&k, kv_width), (&v, kv_width)], hidden)?,
                head_norms: match described.head_norm {
                    Some(covered) => {
                        let [q, k] = match covered {
                            HeadNorm::Each => [config.head_dim; 2],
                            HeadNorm::Whole => [q_width, kv_width],
                        };
                        let mut norm = |name: &str, len: usize| {
                            loader.vector(&format!("{attention}.{name}.weight"), len)
                        };
                        Some([norm("q_norm", q)?, norm("k_norm", k)?])
                    }
                    None => None,
                },
                o: loader.joined(&[(&o, hidden)], q_width)?,
            },
        };
        layers.push(Layer {
            attention_norm,
            ffn_norm,
            norms_after,
            mixer,
            gate_up: loader.joined(&[(&gate, config.ffn), (&up, config.ffn)], hidden)?,
            down: loader.joined(&[(&down, hidden)], config.ffn)?,
        });
    }
    let final_norm = loader.norm("model.norm.weight", hidden)?;
    let head = if config.tied { None } else { Some(loader.joined(&[("lm_head", config.vocab)], hidden)?) };
    Ok(Weights { embedding, layers, final_norm, head, bytes: loader.bytes, operand_bytes, generation })
}

/// Canonical names of a layer's norms: before and behind attention, before and behind the feed-forward half.
pub(super) fn norm_names(norms: Norms) -> [Option<&'static str>; 4] {
    let (input, post) = (Some("input_layernorm"), Some("post_attention_layernorm"));
    let after = Some("post_feedforward_layernorm");
    match norms {
        Norms::Before => [input, None, post, None],
        Norms::After => [None, post, None, after],
        Norms::Both => [input, post, Some("pre_feedforward_layernorm"), after],
    }
}

struct Loader<'a, 's> {
    device: &'a Device,
    source: &'a mut dyn WeightSource<'s>,
    bytes: u64,
}

impl Loader<'_, '_> {
    /// The named matrices, stacked by rows, with their biases if any has one.
    fn joined(&mut self, parts: &[(&str, usize)], cols: usize) -> Result<Weight, Error> {
        let mut matrices = Vec::with_capacity(parts.len());
        let mut bias: Vec<f32> = Vec::new();
        let mut biased = false;
        for &(name, rows) in parts {
            matrices.push(self.source.matrix(&format!("{name}.weight"), rows, cols)?);
            let tensor = format!("{name}.bias");
            if self.source.has(&tensor) {
                biased = true;
                bias.extend(self.source.vector(&tensor, rows)?);
            } else {
                bias.resize(bias.len() + rows, 0.0);
            }
        }
        let stacked: Vec<LinearPart<'_>> = matrices
            .iter()
            .zip(parts)
            .map(|(matrix, &(_, rows))| LinearPart { quant: matrix.quant, rows, bytes: &matrix.bytes })
            .collect();
        let mut weight = Weight::upload(self.device, parts[0].0, &stacked, cols)?;
        if biased {
            weight = weight.with_bias(self.device, parts[0].0, &bias)?;
        }
        self.bytes += weight.bytes();
        Ok(weight)
    }

    /// The short convolution of `layer`.
    fn conv(&mut self, layer: &str, hidden: usize, taps: usize) -> Result<Mixer, Error> {
        let [input, filter, output] = BIASED_CONV.map(|part| format!("{layer}.{part}"));
        let input = self.joined(&[(&input, 3 * hidden)], hidden)?;
        let values = self.source.taps(&format!("{filter}.weight"), hidden, taps)?;
        let bias = format!("{filter}.bias");
        let bias = if self.source.has(&bias) { Some(self.source.vector(&bias, hidden)?) } else { None };
        let shape = ShortConvShape { width: hidden, taps, positions: 0, kv: KvFormat::F32 };
        let taps = self.device.upload(&filter, &shape.taps_buffer(&values, bias.as_deref()))?;
        self.bytes += taps.bytes();
        Ok(Mixer::Conv { input, taps, output: self.joined(&[(&output, hidden)], hidden)? })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Buffer<f32>, Error> {
        let values = self.source.vector(name, len)?;
        let buffer = self.device.upload(name, &values)?;
        self.bytes += buffer.bytes();
        Ok(buffer)
    }

    /// A vector over the hidden width, zero beyond it up to a whole block.
    fn norm(&mut self, name: &str, len: usize) -> Result<Buffer<f32>, Error> {
        let mut values = self.source.vector(name, len)?;
        values.resize(len.next_multiple_of(32), 0.0);
        let buffer = self.device.upload(name, &values)?;
        self.bytes += buffer.bytes();
        Ok(buffer)
    }
}

/// Weights from a checkpoint, requantized if requested.
pub(crate) struct CheckpointSource<'a> {
    pub checkpoint: &'a Checkpoint,
    pub head_dim: usize,
    /// Whether the norms' weights are stored minus 1.
    pub norms_around_one: bool,
    pub quant: Option<Quant>,
    pub progress: &'a mut dyn FnMut(LoadProgress),
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// Names of the tensors that were loaded.
    pub used: HashSet<String>,
}

impl CheckpointSource<'_> {
    fn advance(&mut self, bytes: usize) {
        self.done_bytes += bytes as u64;
        (self.progress)(LoadProgress { done_bytes: self.done_bytes, total_bytes: self.total_bytes });
    }
}

impl<'s> WeightSource<'s> for CheckpointSource<'s> {
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix<'s>, Error> {
        let checkpoint = self.checkpoint;
        let info = checkpoint.need_tensor(name, &[rows, cols])?;
        self.used.insert(name.to_owned());
        // A view of a joined tensor has that one's name in the file.
        self.used.insert(info.source_name.clone());
        let stored = info.quant;
        let permuted = info.rope_permuted;
        let bytes = checkpoint.bytes(info);
        self.advance(bytes.len());
        let ordered =
            if permuted { Cow::Owned(half_split(bytes, rows, self.head_dim)) } else { Cow::Borrowed(bytes) };
        match loaded_as(stored, self.quant, cols) {
            same if same == stored => Ok(Matrix { quant: stored, bytes: ordered }),
            wanted => Ok(Matrix {
                quant: wanted,
                bytes: Cow::Owned(requantize(stored, wanted, &ordered, rows, cols)),
            }),
        }
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        let info = self.checkpoint.need_tensor(name, &[len])?;
        self.used.insert(name.to_owned());
        let mut values = vec![0.0; len];
        info.quant.decode(self.checkpoint.bytes(info), &mut values);
        if info.rope_permuted {
            let bytes = half_split(bytemuck::cast_slice(&values), len, self.head_dim);
            values = bytemuck::pod_collect_to_vec(&bytes);
        }
        if self.norms_around_one && name.ends_with("norm.weight") {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        self.advance(len * 4);
        Ok(values)
    }

    fn taps(&mut self, name: &str, width: usize, taps: usize) -> Result<Vec<f32>, Error> {
        // Hugging Face's files have an axis of one channel in between, as PyTorch's convolutions do.
        let plain = self.checkpoint.tensor(name).is_none_or(|info| info.shape.len() != 3);
        let shape = if plain { vec![width, taps] } else { vec![width, 1, taps] };
        let info = self.checkpoint.need_tensor(name, &shape)?;
        self.used.insert(name.to_owned());
        let mut values = vec![0.0; width * taps];
        info.quant.decode(self.checkpoint.bytes(info), &mut values);
        self.advance(info.byte_len());
        Ok(values)
    }

    fn has(&self, name: &str) -> bool {
        self.checkpoint.has_tensor(name)
    }
}

/// The format on the device of a matrix of `cols` columns that is stored as `stored`: only unquantized weights take
/// the format that the caller wants.
pub(super) fn loaded_as(stored: Quant, wanted: Option<Quant>, cols: usize) -> Quant {
    let float = matches!(stored, Quant::F32 | Quant::F16 | Quant::Bf16);
    wanted.filter(|_| float).map_or(stored, |wanted| wanted.fitting(cols))
}

/// Rows of q or k, converted from interleaved order (GGUF's llama files: pairs are adjacent) to the order
/// in which a head's halves are paired, which all kernels use.
fn half_split(bytes: &[u8], rows: usize, head_dim: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows;
    let mut out = vec![0; bytes.len()];
    for (row, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
        let to = half_split_row(row, head_dim) * row_bytes;
        out[to..to + row_bytes].copy_from_slice(bytes);
    }
    out
}

fn requantize(from: Quant, to: Quant, bytes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let mut values = vec![0.0; cols];
    let mut out = Vec::with_capacity(rows * to.row_bytes(cols).unwrap_or(0));
    for row in bytes.chunks_exact(bytes.len() / rows) {
        from.decode(row, &mut values);
        to.encode(&values, &mut out);
    }
    out
}
