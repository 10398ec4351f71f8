//! The description of one decoder layer. Forward pass, backward pass, memory plan and loader all follow it.

use super::RopeConfig;
use crate::ops::{AttentionShape, Gate};

/// Where a layer's RMS norms are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the feed-forward half.
    #[default]
    Before,
    /// Behind each half, before its result is added to the residual stream (OLMo 2).
    After,
    /// Before and behind each half (Gemma).
    Both,
}

impl Norms {
    /// Whether each half reads the residual stream through a norm.
    pub fn before(self) -> bool {
        self != Norms::After
    }

    /// Whether each half's result goes through a norm.
    pub fn after(self) -> bool {
        self != Norms::Before
    }
}

/// What the norm of queries and keys covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorm {
    /// Each head on its own, with the same weights for all heads (Qwen3, Gemma 3).
    Each,
    /// All heads of a token together (OLMo 2).
    Whole,
}

/// One decoder layer: attention or a short convolution, then a gated feed-forward half.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerConfig {
    /// Number of taps of the gated short convolution that takes the place of attention (LFM2); `None` for attention, which
    /// the settings of window, rotation, heads and scores describe.
    pub conv: Option<usize>,
    /// Number of last tokens, including itself, that a token attends to; `None` for all.
    pub window: Option<usize>,
    /// Rotary position embedding of queries and keys; `None` for no positions (arXiv 2305.19466).
    pub rope: Option<RopeConfig>,
    /// Where the norms are.
    pub norms: Norms,
    /// The norm of queries and keys, if there is one.
    pub head_norm: Option<HeadNorm>,
    /// Whether queries, keys and values have biases.
    pub attention_bias: bool,
    /// Factor of attention scores.
    pub attention_scale: f32,
    /// Bound of attention scores: `cap tanh(score / cap)`.
    pub attention_cap: Option<f32>,
    /// Activation of the feed-forward half's gate.
    pub gate: Gate,
}

impl LayerConfig {
    /// A layer as in Llama, with heads of `head_dim`.
    pub fn llama(head_dim: usize, rope: RopeConfig) -> LayerConfig {
        LayerConfig {
            conv: None,
            window: None,
            rope: Some(rope),
            norms: Norms::Before,
            head_norm: None,
            attention_bias: false,
            attention_scale: AttentionShape::usual_scale(head_dim),
            attention_cap: None,
            gate: Gate::Silu,
        }
    }

    /// Whether the layer has attention. Otherwise it has a short convolution.
    pub fn has_attention(&self) -> bool {
        self.conv.is_none()
    }

    /// The attention of this layer over a cache of shape `cache`.
    pub(crate) fn attention(&self, cache: &AttentionShape) -> AttentionShape {
        let &LayerConfig { window, attention_scale: scale, attention_cap: cap, .. } = self;
        AttentionShape { window, scale, cap, ..*cache }
    }
}
