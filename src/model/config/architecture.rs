//! The architectures that load, each with its names in files and with what is the same in all its models.

use super::{HeadNorm, Norms};
use crate::ops::Gate;

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
    /// Gemma 2: norms around each half, capped scores and logits, a window in every second layer.
    Gemma2,
    /// Gemma 3: as Gemma 2 with normalised heads instead of caps, a window in five of six layers.
    Gemma3,
    /// SmolLM3: no positions in every fourth layer.
    SmolLm3,
    /// Phi-3, 3.5 and 4-mini: joined matrices, heads that are rotated in part.
    Phi3,
    /// Granite, dense: factors of embedding, scores, residual stream and logits.
    Granite,
    /// OLMo 2 and 3: norms behind each half and over all heads together.
    Olmo2,
    /// LFM2 and 2.5, dense: gated short convolutions in place of attention in most layers.
    Lfm2,
}

/// What is known of an architecture.
struct Known {
    architecture: Architecture,
    name: &'static str,
    /// `general.architecture` of GGUF files.
    gguf: &'static [&'static str],
    /// `model_type` of `config.json`.
    hf: &'static [&'static str],
    /// Models that people know, for lists.
    models: &'static str,
}

/// Every architecture, in the order of lists.
const KNOWN: [Known; 10] = [
    Known {
        architecture: Architecture::Llama,
        name: "llama",
        // Mistral files have `llama` too.
        gguf: &["llama"],
        hf: &["llama", "mistral", "ministral"],
        models: "Llama 1 to 3.2, SmolLM2, TinyLlama, Mistral, Ministral",
    },
    Known {
        architecture: Architecture::Qwen2,
        name: "qwen2",
        gguf: &["qwen2"],
        hf: &["qwen2"],
        models: "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen",
    },
    Known {
        architecture: Architecture::Qwen3,
        name: "qwen3",
        gguf: &["qwen3"],
        hf: &["qwen3"],
        models: "Qwen3",
    },
    Known {
        architecture: Architecture::Gemma2,
        name: "gemma2",
        gguf: &["gemma2"],
        hf: &["gemma2"],
        models: "Gemma 2",
    },
    Known {
        architecture: Architecture::Gemma3,
        name: "gemma3",
        gguf: &["gemma3"],
        hf: &["gemma3_text", "gemma3"],
        models: "Gemma 3 (text)",
    },
    Known {
        architecture: Architecture::SmolLm3,
        name: "smollm3",
        gguf: &["smollm3"],
        hf: &["smollm3"],
        models: "SmolLM3",
    },
    Known {
        architecture: Architecture::Phi3,
        name: "phi3",
        gguf: &["phi3"],
        hf: &["phi3"],
        models: "Phi-3, Phi-3.5-mini, Phi-4-mini",
    },
    Known {
        architecture: Architecture::Granite,
        name: "granite",
        gguf: &["granite"],
        hf: &["granite"],
        models: "Granite 3 and 4 (dense)",
    },
    Known {
        architecture: Architecture::Olmo2,
        name: "olmo2",
        gguf: &["olmo2"],
        hf: &["olmo2", "olmo3"],
        models: "OLMo 2 and 3",
    },
    Known {
        architecture: Architecture::Lfm2,
        name: "lfm2",
        gguf: &["lfm2"],
        hf: &["lfm2"],
        models: "LFM2, LFM2.5 (dense)",
    },
];

impl Architecture {
    /// Every architecture that loads.
    pub fn all() -> impl Iterator<Item = Architecture> {
        KNOWN.iter().map(|known| known.architecture)
    }

    fn known(self) -> &'static Known {
        KNOWN.iter().find(|known| known.architecture == self).expect("every architecture is listed")
    }

    /// The lower-case name: `llama`, `qwen2`, `gemma3`.
    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// Models of this architecture that people know, in words.
    pub fn models(self) -> &'static str {
        self.known().models
    }

    /// The architecture that GGUF files call `name`.
    pub(crate) fn of_gguf(name: &str) -> Option<Architecture> {
        KNOWN.iter().find(|known| known.gguf.contains(&name)).map(|known| known.architecture)
    }

    /// The architecture of a `model_type` in `config.json`.
    pub(crate) fn of_hf(model_type: &str) -> Option<Architecture> {
        KNOWN.iter().find(|known| known.hf.contains(&model_type)).map(|known| known.architecture)
    }

    /// What to do about a model of another architecture: the list of those that load.
    pub(super) fn advice() -> String {
        let names: Vec<&str> = Architecture::all().map(Architecture::name).collect();
        format!("use a model of one of these architectures: {}", names.join(", "))
    }

    /// Where the norms are.
    pub(super) fn norms(self) -> Norms {
        match self {
            Architecture::Gemma2 | Architecture::Gemma3 => Norms::Both,
            Architecture::Olmo2 => Norms::After,
            _ => Norms::Before,
        }
    }

    /// Activation of the feed-forward half's gate.
    pub(super) fn gate(self) -> Gate {
        match self {
            Architecture::Gemma2 | Architecture::Gemma3 => Gate::Gelu,
            _ => Gate::Silu,
        }
    }

    /// What the norm of heads covers, if the weights have one.
    pub(super) fn head_norm(self) -> HeadNorm {
        match self {
            Architecture::Olmo2 => HeadNorm::Whole,
            _ => HeadNorm::Each,
        }
    }

    /// Whether Hugging Face's files have a norm's weights minus 1. GGUF files have the weights.
    pub(crate) fn has_norms_around_one(self) -> bool {
        matches!(self, Architecture::Gemma2 | Architecture::Gemma3)
    }

    /// Whether `layer` has the sliding window in models whose files list no kinds of layers, and whose layers differ.
    pub(super) fn slides(self, layer: usize) -> bool {
        let every = match self {
            Architecture::Gemma2 => 2,
            Architecture::Gemma3 => 6,
            Architecture::Olmo2 => 4,
            _ => return true,
        };
        !(layer + 1).is_multiple_of(every)
    }

    /// Whether layers with a sliding window have the plain rotation, without scaling.
    pub(super) fn slides_unscaled(self) -> bool {
        matches!(self, Architecture::Gemma3 | Architecture::Olmo2)
    }

    /// Factor of the embedding, if the files have none: Gemma's is the root of the width.
    pub(super) fn embedding_scale(self, hidden: usize) -> f32 {
        match self {
            Architecture::Gemma2 | Architecture::Gemma3 => (hidden as f64).sqrt() as f32,
            _ => 1.0,
        }
    }
}

/// Base of the rotation in Gemma 3's layers with a window, if a file has none.
pub(super) const LOCAL_THETA: f32 = 10_000.0;
/// SmolLM3 has no positions in each layer of this number, if a file lists none.
pub(super) const NO_ROPE_EVERY: usize = 4;
