//! The matrices of a decoder layer that can carry an adapter.

use crate::model::ModelConfig;
use crate::model::config::{Architecture, LayerConfig};

/// A matrix of the decoder layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// Queries, `(heads * head_dim, hidden)`.
    Q,
    /// Keys, `(kv_heads * head_dim, hidden)`.
    K,
    /// Values, `(kv_heads * head_dim, hidden)`.
    V,
    /// Attention's output, `(hidden, heads * head_dim)`.
    O,
    /// The gate of the feed-forward layer, `(ffn, hidden)`.
    Gate,
    /// The values that the gate multiplies, `(ffn, hidden)`.
    Up,
    /// The output to the residual stream, `(hidden, ffn)`.
    Down,
    /// The first matrix of a short convolution, `(3 hidden, hidden)` (LFM2).
    In,
    /// The last matrix of a short convolution, `(hidden, hidden)` (LFM2).
    Out,
}

/// How PEFT names the projections: as the modules of the model in Hugging Face's library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ModuleNames {
    /// As in Llama and most families: `self_attn.o_proj`, `mlp.gate_proj`.
    #[default]
    Llama,
    /// As in LFM2: `self_attn.out_proj`, `feed_forward.w1`, `conv.in_proj`.
    Lfm2,
}

impl ModuleNames {
    /// Both.
    pub(crate) const ALL: [ModuleNames; 2] = [ModuleNames::Llama, ModuleNames::Lfm2];

    /// Those of `architecture`.
    pub fn of(architecture: Architecture) -> ModuleNames {
        match architecture {
            Architecture::Lfm2 => ModuleNames::Lfm2,
            _ => ModuleNames::Llama,
        }
    }

    /// The module of a layer that is the projection: `self_attn.q_proj`.
    pub fn module(self, projection: Projection) -> &'static str {
        match (self, projection) {
            (_, Projection::Q) => "self_attn.q_proj",
            (_, Projection::K) => "self_attn.k_proj",
            (_, Projection::V) => "self_attn.v_proj",
            (ModuleNames::Llama, Projection::O) => "self_attn.o_proj",
            (ModuleNames::Lfm2, Projection::O) => "self_attn.out_proj",
            (ModuleNames::Llama, Projection::Gate) => "mlp.gate_proj",
            (ModuleNames::Llama, Projection::Up) => "mlp.up_proj",
            (ModuleNames::Llama, Projection::Down) => "mlp.down_proj",
            (ModuleNames::Lfm2, Projection::Gate) => "feed_forward.w1",
            (ModuleNames::Lfm2, Projection::Up) => "feed_forward.w3",
            (ModuleNames::Lfm2, Projection::Down) => "feed_forward.w2",
            (_, Projection::In) => "conv.in_proj",
            (_, Projection::Out) => "conv.out_proj",
        }
    }
}

impl Projection {
    /// All projections, in the order of the forward pass; those of convolutions are the last.
    pub const ALL: [Projection; 9] = [
        Projection::Q,
        Projection::K,
        Projection::V,
        Projection::O,
        Projection::Gate,
        Projection::Up,
        Projection::Down,
        Projection::In,
        Projection::Out,
    ];

    /// The name in Hugging Face's Llama: `q_proj`, ..., `down_proj`; `in_proj` and `out_proj` for a convolution.
    pub fn name(self) -> &'static str {
        match self {
            Projection::Q => "q_proj",
            Projection::K => "k_proj",
            Projection::V => "v_proj",
            Projection::O => "o_proj",
            Projection::Gate => "gate_proj",
            Projection::Up => "up_proj",
            Projection::Down => "down_proj",
            Projection::In => "in_proj",
            Projection::Out => "out_proj",
        }
    }

    /// Whether a layer of this kind has the projection.
    pub fn is_of(self, layer: &LayerConfig) -> bool {
        match self {
            Projection::Q | Projection::K | Projection::V | Projection::O => layer.has_attention(),
            Projection::In | Projection::Out => layer.conv.is_some(),
            Projection::Gate | Projection::Up | Projection::Down => true,
        }
    }

    /// The projection's number among the seven of a layer: a layer has either attention or a convolution.
    pub(super) fn number(self) -> usize {
        match self {
            Projection::In => Projection::Q as usize,
            Projection::Out => Projection::O as usize,
            other => other as usize,
        }
    }

    /// The projection called `name`: `q_proj`, or `q` for short.
    pub fn from_name(name: &str) -> Option<Self> {
        let known = |projection: &Projection| {
            let full = projection.name();
            name == full || full.strip_suffix("_proj") == Some(name)
        };
        Self::ALL.into_iter().find(known)
    }

    /// `(outputs, inputs)` in a model of this shape.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let q_width = config.heads * config.head_dim;
        let kv_width = config.kv_heads * config.head_dim;
        match self {
            Projection::Q => (q_width, config.hidden),
            Projection::K | Projection::V => (kv_width, config.hidden),
            Projection::O => (config.hidden, q_width),
            Projection::Gate | Projection::Up => (config.ffn, config.hidden),
            Projection::Down => (config.hidden, config.ffn),
            Projection::In => (3 * config.hidden, config.hidden),
            Projection::Out => (config.hidden, config.hidden),
        }
    }
}

/// A set of projections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Projections(u16);

impl Projections {
    /// All.
    pub const ALL: Projections = Projections(0x1FF);

    /// Whether the set contains `projection`.
    pub fn contains(self, projection: Projection) -> bool {
        self.0 & (1 << projection as u8) != 0
    }

    /// The members, in the order of [`Projection::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Projection> {
        Projection::ALL.into_iter().filter(move |&projection| self.contains(projection))
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that a layer of `model` has.
    #[must_use]
    pub fn of(self, model: &ModelConfig) -> Projections {
        self.iter().filter(|projection| model.layers.iter().any(|layer| projection.is_of(layer))).collect()
    }

    /// The union of two sets.
    pub fn union(self, other: Projections) -> Projections {
        Projections(self.0 | other.0)
    }
}

impl FromIterator<Projection> for Projections {
    fn from_iter<I: IntoIterator<Item = Projection>>(members: I) -> Self {
        Projections(members.into_iter().fold(0, |set, projection| set | 1 << projection as u8))
    }
}

impl std::fmt::Display for Projections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.iter().map(Projection::name).collect();
        f.write_str(&names.join(","))
    }
}

/// Parses `all`, or names separated by commas: `q,v` or `q_proj,v_proj`.
impl std::str::FromStr for Projections {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" || text == "all-linear" {
            return Ok(Projections::ALL);
        }
        let member = |name: &str| {
            let name = name.trim();
            Projection::from_name(name).ok_or_else(|| {
                format!("unknown projection `{name}`: expected all, or some of q,k,v,o,gate,up,down,in,out")
            })
        };
        text.split(',').map(member).collect()
    }
}
