//! A model's configuration, read from GGUF metadata or `config.json` and validated before any weight.

mod gguf;
mod hf;

use std::f64::consts::PI;
use std::path::Path;

use crate::format::{Checkpoint, LoadError};

/// Canonical name of the embedding, whose rows are the vocabulary.
const EMBEDDING: &str = "model.embed_tokens.weight";
/// The tensor of divisors with which llama.cpp's converter stores Llama 3's rope scaling.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";
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
/// Canonical name of the output matrix; a model without it reuses the embedding.
pub(super) const OUTPUT: &str = "lm_head.weight";

/// The decoder family, which determines the structure of the blocks.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Llama 1 to 3, SmolLM2, TinyLlama, Mistral.
    Llama,
    /// Qwen2 and 2.5: biases on queries, keys and values.
    Qwen2,
    /// Qwen3: normalised queries and keys.
    Qwen3,
}

impl Architecture {
    /// The lower-case name: `llama`, `qwen2`, `qwen3`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }
}

/// How rotary frequencies are scaled for contexts longer than that of training.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Frequencies as trained.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// Factor by which the context is extended.
        factor: f32,
    },
    /// Llama 3.1's: low frequencies are divided by `factor`, high ones are unchanged, with a ramp in between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_freq_factor` tokens are divided.
        low_freq_factor: f32,
        /// Wavelengths below `original_context / high_freq_factor` tokens are unchanged.
        high_freq_factor: f32,
        /// Context the model was first trained on, in tokens.
        original_context: usize,
    },
    /// One divisor for each frequency: GGUF's tensor `rope_freqs.weight`.
    Explicit(Vec<f32>),
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f32,
    /// Changes to that series.
    pub scaling: RopeScaling,
}

impl RopeConfig {
    /// Radians per token of each of the `head_dim / 2` rotated pairs.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        // In f64, because the series spans many magnitudes; each value is rounded only once.
        let plain = |i: usize| f64::from(self.theta).powf(-((2 * i) as f64) / head_dim as f64);
        (0..head_dim / 2)
            .map(|i| {
                let frequency = plain(i);
                let scaled = match &self.scaling {
                    RopeScaling::None => frequency,
                    RopeScaling::Linear { factor } => frequency / f64::from(*factor),
                    RopeScaling::Explicit(divisors) => frequency / f64::from(divisors[i]),
                    RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                        let (low, high) = (f64::from(*low_freq_factor), f64::from(*high_freq_factor));
                        // Turns of this pair over the original context: few for low frequencies.
                        let turns = *original_context as f64 * frequency / (2.0 * PI);
                        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                        frequency * (kept + (1.0 - kept) / f64::from(*factor))
                    }
                };
                scaled as f32
            })
            .collect()
    }
}

/// The shape of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The decoder family.
    pub architecture: Architecture,
    /// Rows of the embedding (V).
    pub vocab: usize,
    /// Width of the residual stream (D).
    pub hidden: usize,
    /// Decoder blocks.
    pub layers: usize,
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
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// Longest sequence that the model supports, in tokens.
    pub context: usize,
    /// Number of last tokens, including itself, that a token attends to; `None` for all.
    pub sliding_window: Option<usize>,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// Whether queries, keys and values have biases.
    pub attention_bias: bool,
    /// Whether each head's queries and keys are RMS-normalised.
    pub qk_norm: bool,
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

    /// Checks that the numbers are valid and agree with the embedding.
    fn validate(&self, checkpoint: &Checkpoint) -> Result<(), LoadError> {
        // Bounds far above those of any real model; their products stay below 2^63.
        let bounds = [
            ("vocab", self.vocab, 1 << 24),
            ("hidden", self.hidden, 1 << 18),
            ("layers", self.layers, 1 << 12),
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
        if self.sliding_window == Some(0) {
            return bad("sliding_window", "is 0, must be at least 1".into());
        }
        self.rope.validate(path, self.head_dim)?;
        for (key, id) in self.bos.iter().map(|id| ("bos", id)).chain(self.eos.iter().map(|id| ("eos", id))) {
            if *id as usize >= self.vocab {
                return bad(key, format!("is token {id}, but the vocabulary has {}", self.vocab));
            }
        }
        let wanted = match self.architecture {
            Architecture::Qwen2 if !self.attention_bias => Some("self_attn.q_proj.bias"),
            Architecture::Qwen3 if !self.qk_norm => Some("self_attn.q_norm.weight"),
            _ => None,
        };
        if let Some(name) = wanted {
            let tensor = format!("model.layers.0.{name}");
            return Err(LoadError::MissingTensor { path: path.to_owned(), tensor });
        }
        for part in BIASED {
            uniform(checkpoint, self.layers, &format!("{part}.bias"))?;
        }
        for part in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
            uniform(checkpoint, self.layers, part)?;
        }
        checkpoint.need_tensor(EMBEDDING, &[self.vocab, self.hidden])?;
        if !self.tied {
            checkpoint.need_tensor(OUTPUT, &[self.vocab, self.hidden])?;
        }
        Ok(())
    }
}

impl RopeConfig {
    fn validate(&self, path: &Path, head_dim: usize) -> Result<(), LoadError> {
        let bad = |key: &str, rule: String| Err(LoadError::metadata(path, key, None, rule));
        let positive = |value: f32| value.is_finite() && value > 0.0;
        if !(positive(self.theta) && self.theta >= 1.0) {
            return bad("rope theta", format!("is {}, must be at least 1", self.theta));
        }
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } if positive(*factor) => Ok(()),
            RopeScaling::Linear { factor } => {
                bad("rope scaling factor", format!("is {factor}, must be above 0"))
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let ordered = positive(*low_freq_factor)
                    && high_freq_factor.is_finite()
                    && high_freq_factor > low_freq_factor;
                if positive(*factor) && ordered && *original_context > 0 {
                    return Ok(());
                }
                bad(
                    "rope scaling",
                    format!(
                        "needs factor > 0, 0 < low_freq_factor < high_freq_factor and an original \
                         context, found {factor}, {low_freq_factor}, {high_freq_factor}, \
                         {original_context}"
                    ),
                )
            }
            RopeScaling::Explicit(divisors) => {
                if divisors.len() != head_dim / 2 {
                    let (found, wanted) = (divisors.len(), head_dim / 2);
                    return bad("rope_freqs.weight", format!("has {found} values, expected {wanted}"));
                }
                match divisors.iter().find(|divisor| !positive(**divisor)) {
                    Some(divisor) => bad("rope_freqs.weight", format!("holds {divisor}, must be above 0")),
                    None => Ok(()),
                }
            }
        }
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

fn has_layer_tensor(checkpoint: &Checkpoint, name: &str) -> bool {
    checkpoint.has_tensor(&format!("model.layers.0.{name}"))
}

/// `Ok` if every layer has tensor `name`, or none: a missing one must not count as zeros.
fn uniform(checkpoint: &Checkpoint, layers: usize, name: &str) -> Result<(), LoadError> {
    let tensor = |layer: usize| format!("model.layers.{layer}.{name}");
    let with = (0..layers).filter(|layer| checkpoint.has_tensor(&tensor(*layer))).count();
    match (0..layers).find(|layer| !checkpoint.has_tensor(&tensor(*layer))) {
        Some(missing) if with > 0 => {
            Err(LoadError::MissingTensor { path: checkpoint.path().to_owned(), tensor: tensor(missing) })
        }
        _ => Ok(()),
    }
}
