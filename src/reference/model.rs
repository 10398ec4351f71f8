//! A whole LLaMA, Qwen2 or Qwen3 forward pass on the CPU, from plain f32 weights.
//!
//! Slow and simple on purpose: no cache, no batch, every position of the sequence at once.

use super::{AttentionShape, attention, embed, head_norm, linear, rms_norm, rope, swiglu};

/// The numbers that shape a forward pass.
#[derive(Clone, Debug)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Heads, kv heads, head width, sliding window.
    pub attention: AttentionShape,
    /// Added to the mean square in every norm.
    pub norm_eps: f32,
    /// Radians per position of each rotated pair, `(head_dim / 2)`.
    pub inverse_frequencies: Vec<f32>,
}

/// The weights of one decoder layer; projections are `(outputs, inputs)`.
#[derive(Clone, Debug, Default)]
pub struct LayerWeights {
    /// Gain of the norm before attention, `(hidden)`.
    pub attention_norm: Vec<f32>,
    /// Query projection, `(heads * head_dim, hidden)`.
    pub q: Vec<f32>,
    /// Key projection, `(kv_heads * head_dim, hidden)`.
    pub k: Vec<f32>,
    /// Value projection, `(kv_heads * head_dim, hidden)`.
    pub v: Vec<f32>,
    /// Output projection, `(hidden, heads * head_dim)`.
    pub o: Vec<f32>,
    /// Query bias (Qwen2).
    pub q_bias: Option<Vec<f32>>,
    /// Key bias (Qwen2).
    pub k_bias: Option<Vec<f32>>,
    /// Value bias (Qwen2).
    pub v_bias: Option<Vec<f32>>,
    /// Gain of the norm of each query head, `(head_dim)` (Qwen3).
    pub q_norm: Option<Vec<f32>>,
    /// Gain of the norm of each key head, `(head_dim)` (Qwen3).
    pub k_norm: Option<Vec<f32>>,
    /// Gain of the norm before the feed-forward block, `(hidden)`.
    pub mlp_norm: Vec<f32>,
    /// Gate projection, `(ffn, hidden)`.
    pub gate: Vec<f32>,
    /// Up projection, `(ffn, hidden)`.
    pub up: Vec<f32>,
    /// Down projection, `(hidden, ffn)`.
    pub down: Vec<f32>,
}

/// A model: its shape and all its weights.
#[derive(Clone, Debug)]
pub struct Model {
    /// Shape of the forward pass.
    pub shape: ModelShape,
    /// Token embedding, `(vocab, hidden)`.
    pub embed: Vec<f32>,
    /// Decoder layers, first to last.
    pub layers: Vec<LayerWeights>,
    /// Gain of the last norm, `(hidden)`.
    pub norm: Vec<f32>,
    /// Output head, `(vocab, hidden)`; `None` when it is tied to `embed`.
    pub head: Option<Vec<f32>>,
}

impl Model {
    /// The last norm's output for each token of one sequence, `(ids.len(), hidden)`.
    pub fn hidden(&self, ids: &[u32]) -> Vec<f32> {
        let ModelShape { hidden, attention: heads, norm_eps: eps, inverse_frequencies: frequencies } =
            &self.shape;
        let (hidden, eps) = (*hidden, *eps);
        let positions: Vec<u32> = (0..ids.len() as u32).collect();
        let mut x = embed(&self.embed, hidden, ids);
        for layer in &self.layers {
            let h = rms_norm(&x, &layer.attention_norm, eps);
            let mut q = linear(&layer.q, hidden, &h, layer.q_bias.as_deref(), None);
            let mut k = linear(&layer.k, hidden, &h, layer.k_bias.as_deref(), None);
            let v = linear(&layer.v, hidden, &h, layer.v_bias.as_deref(), None);
            if let Some(gain) = &layer.q_norm {
                q = head_norm(&q, gain, eps);
            }
            if let Some(gain) = &layer.k_norm {
                k = head_norm(&k, gain, eps);
            }
            let q = rope(&q, &positions, heads.heads, frequencies);
            let k = rope(&k, &positions, heads.kv_heads, frequencies);
            let a = attention(*heads, &q, &positions, &k, &v);
            x = linear(&layer.o, heads.heads * heads.head_dim, &a, None, Some(&x));
            let h = rms_norm(&x, &layer.mlp_norm, eps);
            let gate = linear(&layer.gate, hidden, &h, None, None);
            let up = linear(&layer.up, hidden, &h, None, None);
            let ffn = layer.gate.len() / hidden;
            x = linear(&layer.down, ffn, &swiglu(&gate, &up), None, Some(&x));
        }
        rms_norm(&x, &self.norm, eps)
    }

    /// The logits after each token of one sequence, `(ids.len(), vocab)`.
    pub fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let head = self.head.as_ref().unwrap_or(&self.embed);
        linear(head, self.shape.hidden, &self.hidden(ids), None, None)
    }
}
