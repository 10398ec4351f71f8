//! A model's configuration, read from GGUF metadata or `config.json` and validated before any weight.

mod architecture;
mod gguf;
mod hf;
mod layer;
mod lfm2;
mod rope;

pub use architecture::Architecture;
pub use layer::{HeadNorm, LayerConfig, Norms};
pub use rope::{RopeConfig, RopeScaling};

use std::path::Path;

use crate::format::{Checkpoint, LoadError};
use crate::ops::LogitCap;

/// Canonical name of the embedding, whose rows are the vocabulary.
const EMBEDDING: &str = "model.embed_tokens.weight";
/// The tensor of divisors with which llama.cpp's converter stores Llama 3's rope scaling.
pub(crate) const ROPE_FREQS: &str = "rope_freqs.weight";
/// LongRoPE's tensors of divisors, for short and for long contexts.
pub(crate) const ROPE_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];
/// The matrices of a layer that may have a bias: those of attention, then those of the feed-forward half.
pub(super) const BIASED: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];
/// The same of a layer with a short convolution in place of attention.
pub(crate) const BIASED_CONV: [&str; 3] = ["conv.in_proj", "conv.conv", "conv.out_proj"];
/// Canonical name of the output matrix; a model without it reuses the embedding.
pub(super) const OUTPUT: &str = "lm_head.weight";

/// The shape of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The decoder family.
    pub architecture: Architecture,
    /// Rows of the embedding (V).
    pub vocab: usize,
    /// Width of the residual stream (D).
    pub hidden: usize,
    /// The decoder layers, first to last.
    pub layers: Vec<LayerConfig>,
    /// Query heads (H).
    pub heads: usize,
    /// Key and value heads (K); a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of one head; `heads * head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// Width of the gated feed-forward layer.
    pub ffn: usize,
    /// Added to the mean square in each RMS norm.
    pub norm_eps: f32,
    /// Factor of the embedding.
    pub embedding_scale: f32,
    /// Factor of each half's result, before it is added to the residual stream.
    pub residual_scale: f32,
    /// Factor and bound of the logits.
    pub logit_cap: LogitCap,
    /// Longest sequence that the model supports, in tokens.
    pub context: usize,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// The token that starts a text, if the model has one.
    pub bos: Option<u32>,
    /// The tokens that end a reply.
    pub eos: Vec<u32>,
}

impl ModelConfig {
    /// Reads and validates the configuration of `checkpoint`.
    ///
    /// Vocabulary size, biases, norms and a tied output are derived from the tensors themselves.
    ///
    /// # Errors
    ///
    /// * [`LoadError::Metadata`] for a missing or invalid value, or one of the wrong type.
    /// * [`LoadError::Unsupported`] for other architectures, and for variants of these with other
    ///   computations.
    /// * [`LoadError::MissingTensor`] or [`LoadError::Shape`] if the tensors that the configuration
    ///   depends on disagree with it.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<ModelConfig, LoadError> {
        let config = match (checkpoint.gguf(), checkpoint.config_json()) {
            (Some(gguf), _) => gguf::read(checkpoint, gguf)?,
            (None, Some(json)) => hf::read(checkpoint, json)?,
            (None, None) => {
                return Err(LoadError::unsupported(
                    checkpoint.path(),
                    "it has no configuration",
                    "open a gguf file or a model directory",
                ));
            }
        };
        config.validate(checkpoint)?;
        Ok(config)
    }

    /// Factor of the embedding on the device. The residual stream is kept divided by [`ModelConfig::residual_scale`], so
    /// that the results of the halves are added as they are.
    pub(crate) fn stream_embedding_scale(&self) -> f32 {
        self.embedding_scale / self.residual_scale
    }

    /// What is added to the mean square in a norm of that stream: a norm of `x / r` with `eps / r^2` is the norm of `x`
    /// with `eps`.
    pub(crate) fn stream_eps(&self) -> f32 {
        self.norm_eps / (self.residual_scale * self.residual_scale)
    }

    /// Whether a layer has attention.
    pub(crate) fn has_attention(&self) -> bool {
        self.layers.iter().any(LayerConfig::has_attention)
    }

    /// Whether a layer has a short convolution in place of attention.
    pub(crate) fn has_conv(&self) -> bool {
        self.layers.iter().any(|layer| layer.conv.is_some())
    }

    /// Whether a layer has norms of queries and keys.
    pub(crate) fn has_head_norms(&self) -> bool {
        self.layers.iter().any(|layer| layer.head_norm.is_some())
    }

    /// Whether a layer has norms behind its halves.
    pub(crate) fn has_norms_after(&self) -> bool {
        self.layers.iter().any(|layer| layer.norms.after())
    }

    /// Checks that the numbers are valid and agree with the embedding.
    fn validate(&self, checkpoint: &Checkpoint) -> Result<(), LoadError> {
        // Bounds far above those of any real model; their products stay below 2^63.
        let bounds = [
            ("vocab", self.vocab, 1 << 24),
            ("hidden", self.hidden, 1 << 18),
            ("layers", self.layers.len(), MOST_LAYERS),
            ("heads", self.heads, 1 << 12),
            ("kv_heads", self.kv_heads, 1 << 12),
            ("head_dim", self.head_dim, 1 << 12),
            ("ffn", self.ffn, 1 << 20),
            ("context", self.context, 1 << 26),
        ];
        let path = checkpoint.path();
        let bad = |key: &str, rule: String| Err(LoadError::metadata(path, key, None, rule));
        for (key, value, most) in bounds {
            if value == 0 || value > most {
                return bad(key, format!("is {value}, must be 1 to {most}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let rule = format!("is {}, which does not divide {} heads", self.kv_heads, self.heads);
            return bad("kv_heads", rule);
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad("head_dim", format!("is {}, must be even for rotary pairs", self.head_dim));
        }
        if !(self.norm_eps >= 0.0 && self.norm_eps < 1.0) {
            return bad("norm_eps", format!("is {}, must be 0 to 1", self.norm_eps));
        }
        let mut last = None;
        for layer in &self.layers {
            if layer.conv.is_some_and(|taps| taps == 0 || taps > MOST_TAPS) {
                let taps = layer.conv.unwrap_or(0);
                return bad("conv_L_cache", format!("is {taps}, must be 1 to {MOST_TAPS}"));
            }
            if layer.window == Some(0) {
                return bad("sliding_window", "is 0, must be at least 1".into());
            }
            // Most layers have the same rotation.
            if let Some(rope) = layer.rope.as_ref().filter(|rope| last != Some(*rope)) {
                rope.validate(path, self.head_dim)?;
                last = Some(rope);
            }
            let cap = layer.attention_cap.unwrap_or(1.0);
            for (key, value) in [("attention scale", layer.attention_scale), ("attention cap", cap)] {
                positive(path, key, value)?;
            }
        }
        let LogitCap { scale, cap } = self.logit_cap;
        for (key, value) in [
            ("embedding scale", self.embedding_scale),
            ("residual scale", self.residual_scale),
            ("logit scale", scale),
            ("logit cap", cap.unwrap_or(1.0)),
        ] {
            positive(path, key, value)?;
        }
        for (key, id) in self.bos.iter().map(|id| ("bos", id)).chain(self.eos.iter().map(|id| ("eos", id))) {
            if *id as usize >= self.vocab {
                return bad(key, format!("is token {id}, but the vocabulary has {}", self.vocab));
            }
        }
        let wanted = match self.architecture {
            Architecture::Qwen2 => {
                self.layers.iter().any(|layer| !layer.attention_bias).then_some("self_attn.q_proj.bias")
            }
            Architecture::Qwen3 | Architecture::Gemma3 | Architecture::Olmo2 | Architecture::Lfm2 => {
                self.layers.iter().any(|layer| layer.head_norm.is_none()).then_some("self_attn.q_norm.weight")
            }
            _ => None,
        };
        let of = |attention: bool| -> Vec<usize> {
            let numbered = self.layers.iter().enumerate();
            numbered.filter(|(_, layer)| layer.has_attention() == attention).map(|(at, _)| at).collect()
        };
        let (attention, conv) = (of(true), of(false));
        if let (Some(name), Some(first)) = (wanted, attention.first()) {
            let tensor = format!("model.layers.{first}.{name}");
            return Err(LoadError::MissingTensor { path: path.to_owned(), tensor });
        }
        for part in &BIASED[..4] {
            uniform(checkpoint, &attention, &format!("{part}.bias"))?;
        }
        for part in &BIASED[4..] {
            let all: Vec<usize> = (0..self.layers.len()).collect();
            uniform(checkpoint, &all, &format!("{part}.bias"))?;
        }
        for part in BIASED_CONV {
            uniform(checkpoint, &conv, &format!("{part}.bias"))?;
        }
        for part in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
            uniform(checkpoint, &attention, part)?;
        }
        checkpoint.need_tensor(EMBEDDING, &[self.vocab, self.hidden])?;
        if !self.tied {
            checkpoint.need_tensor(OUTPUT, &[self.vocab, self.hidden])?;
        }
        Ok(())
    }
}

/// Most layers of any model.
const MOST_LAYERS: usize = 1 << 12;

/// Most taps of a short convolution. LFM2 has 3.
const MOST_TAPS: usize = 16;

/// `Ok` if a model may have this number of layers.
fn check_layers(path: &Path, layers: usize) -> Result<(), LoadError> {
    if layers <= MOST_LAYERS {
        return Ok(());
    }
    Err(LoadError::metadata(path, "layers", None, format!("is {layers}, must be 1 to {MOST_LAYERS}")))
}

/// `Ok` if `value` is a finite number above 0.
fn positive(path: &Path, key: &str, value: f32) -> Result<(), LoadError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(LoadError::metadata(path, key, None, format!("is {value}, must be above 0")))
}

/// The layers of a model of `architecture`, without what the files list for each: what the architecture has in all of
/// them, and what the weights of layer `first` show, which has attention.
fn plain_layer(
    checkpoint: &Checkpoint,
    architecture: Architecture,
    head_dim: usize,
    rope: &RopeConfig,
    first: usize,
) -> LayerConfig {
    let has = |name: &str| checkpoint.has_tensor(&format!("model.layers.{first}.{name}"));
    let normed = has("self_attn.q_norm.weight");
    LayerConfig {
        norms: architecture.norms(),
        gate: architecture.gate(),
        head_norm: normed.then(|| architecture.head_norm()),
        attention_bias: has("self_attn.q_proj.bias"),
        ..LayerConfig::llama(head_dim, rope.clone())
    }
}

/// Rows of the embedding.
fn embedding_rows(checkpoint: &Checkpoint) -> Result<usize, LoadError> {
    match checkpoint.tensor(EMBEDDING) {
        Some(tensor) => Ok(tensor.rows()),
        // An error for any shape: there is no such tensor, or it cannot be read.
        None => checkpoint.need_tensor(EMBEDDING, &[]).map(|tensor| tensor.rows()),
    }
}

/// `Ok` if every one of `layers` has tensor `name`, or none: a missing one must not count as zeros.
fn uniform(checkpoint: &Checkpoint, layers: &[usize], name: &str) -> Result<(), LoadError> {
    let tensor = |layer: usize| format!("model.layers.{layer}.{name}");
    let with = layers.iter().filter(|layer| checkpoint.has_tensor(&tensor(**layer))).count();
    match layers.iter().find(|layer| !checkpoint.has_tensor(&tensor(**layer))) {
        Some(missing) if with > 0 => {
            Err(LoadError::MissingTensor { path: checkpoint.path().to_owned(), tensor: tensor(*missing) })
        }
        _ => Ok(()),
    }
}
