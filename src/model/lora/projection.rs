//! The seven matrices of a decoder layer that can carry an adapter.

use crate::model::ModelConfig;

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
}

impl Projection {
    /// All projections, in the order of the forward pass.
    pub const ALL: [Projection; 7] = [
        Projection::Q,
        Projection::K,
        Projection::V,
        Projection::O,
        Projection::Gate,
        Projection::Up,
        Projection::Down,
    ];

    /// Hugging Face's name: `q_proj`, ..., `down_proj`.
    pub fn name(self) -> &'static str {
        match self {
            Projection::Q => "q_proj",
            Projection::K => "k_proj",
            Projection::V => "v_proj",
            Projection::O => "o_proj",
            Projection::Gate => "gate_proj",
            Projection::Up => "up_proj",
            Projection::Down => "down_proj",
        }
    }

    /// The module of a layer that holds the projection: `self_attn` or `mlp`.
    pub fn module(self) -> &'static str {
        match self {
            Projection::Q | Projection::K | Projection::V | Projection::O => "self_attn",
            Projection::Gate | Projection::Up | Projection::Down => "mlp",
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
        }
    }
}

/// A set of projections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Projections(u8);

impl Projections {
    /// All seven.
    pub const ALL: Projections = Projections(0x7F);

    /// Whether the set contains `projection`.
    pub fn contains(self, projection: Projection) -> bool {
        self.0 & (1 << projection as u8) != 0
    }

    /// The members, in the order of the forward pass.
    pub fn iter(self) -> impl Iterator<Item = Projection> {
        Projection::ALL.into_iter().filter(move |&projection| self.contains(projection))
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
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
                format!("unknown projection `{name}`: expected all, or some of q,k,v,o,gate,up,down")
            })
        };
        text.split(',').map(member).collect()
    }
}
