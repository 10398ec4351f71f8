//! A whole forward pass of any supported architecture on the CPU, from plain f32 weights.
//!
//! Slow and simple on purpose: no cache, no batch, every position of the sequence at once.

use super::{
    ActivationFn, AttentionShape, attention, cap_logits, embed, glu, head_norm, linear, rms_norm, rope,
    short_conv, short_conv_input,
};

/// The numbers that shape a forward pass.
#[derive(Clone, Debug)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Added to the mean square in every norm.
    pub norm_eps: f32,
    /// Factor of the embedding.
    pub embedding_scale: f32,
    /// Factor of each half's result, before it is added to the residual stream.
    pub residual_scale: f32,
    /// Factor of the logits.
    pub logit_scale: f32,
    /// Bound of the logits, `cap tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
}

impl ModelShape {
    /// A shape whose factors are 1.
    pub fn plain(hidden: usize, norm_eps: f32) -> ModelShape {
        let (embedding_scale, residual_scale, logit_scale) = (1.0, 1.0, 1.0);
        ModelShape { hidden, norm_eps, embedding_scale, residual_scale, logit_scale, logit_cap: None }
    }
}

/// The numbers that shape one layer.
#[derive(Clone, Debug)]
pub struct LayerShape {
    /// Heads, kv heads, head width, sliding window, factor and cap of scores.
    pub attention: AttentionShape,
    /// Radians per position of each rotated pair, at most `(head_dim / 2)`; none if nothing is rotated.
    pub inverse_frequencies: Vec<f32>,
    /// Factor of rotated dimensions.
    pub magnitude: f32,
    /// Activation of the gate.
    pub gate: ActivationFn,
}

/// The weights of a gated short convolution.
#[derive(Clone, Debug)]
pub struct ConvWeights {
    /// Projection to B, C and x, `(3 hidden, hidden)`.
    pub input: Vec<f32>,
    /// Taps of each column, `(hidden, taps)`, the row's own position last.
    pub taps: Vec<f32>,
    /// Output projection, `(hidden, hidden)`.
    pub output: Vec<f32>,
    /// Biases of the three, if the model has them: `(3 hidden)`, `(hidden)`, `(hidden)`.
    pub biases: Option<[Vec<f32>; 3]>,
}

impl ConvWeights {
    /// The result for the rows of one sequence, `(m, hidden)` to `(m, hidden)`.
    fn run(&self, hidden: usize, x: &[f32], positions: &[u32]) -> Vec<f32> {
        let [input, filter, output] = [0, 1, 2].map(|at| self.biases.as_ref().map(|biases| &biases[at][..]));
        let bcx = linear(&self.input, hidden, x, input, None);
        let u = short_conv_input(hidden, &bcx);
        let zeros = vec![0.0; hidden];
        let y = short_conv(&bcx, positions, &u, &self.taps, filter.unwrap_or(&zeros));
        linear(&self.output, hidden, &y, output, None)
    }
}

/// The weights of one decoder layer; projections are `(outputs, inputs)`.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Shape of the layer.
    pub shape: LayerShape,
    /// Gain of the norm before attention, `(hidden)`.
    pub attention_norm: Option<Vec<f32>>,
    /// Gain of the norm behind attention, `(hidden)` (Gemma, OLMo 2).
    pub attention_norm_after: Option<Vec<f32>>,
    /// The short convolution in place of attention (LFM2). The weights of attention are empty then.
    pub conv: Option<ConvWeights>,
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
    /// Gain of the norm of queries: of each head, `(head_dim)` (Qwen3), or of all together (OLMo 2).
    pub q_norm: Option<Vec<f32>>,
    /// Gain of the norm of keys, in the same way.
    pub k_norm: Option<Vec<f32>>,
    /// Gain of the norm before the feed-forward block, `(hidden)`.
    pub mlp_norm: Option<Vec<f32>>,
    /// Gain of the norm behind the feed-forward block, `(hidden)` (Gemma, OLMo 2).
    pub mlp_norm_after: Option<Vec<f32>>,
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
        let &ModelShape { hidden, norm_eps: eps, embedding_scale, residual_scale, .. } = &self.shape;
        let positions: Vec<u32> = (0..ids.len() as u32).collect();
        let normed = |x: &[f32], gain: &Option<Vec<f32>>| match gain {
            Some(gain) => rms_norm(x, gain, eps),
            None => x.to_vec(),
        };
        let add = |x: &mut [f32], y: Vec<f32>| {
            x.iter_mut().zip(y).for_each(|(x, y)| *x += residual_scale * y);
        };
        let mut x = embed(&self.embed, hidden, embedding_scale, ids);
        for layer in &self.layers {
            let LayerShape { attention: heads, inverse_frequencies, magnitude, .. } = &layer.shape;
            let h = normed(&x, &layer.attention_norm);
            if let Some(conv) = &layer.conv {
                add(&mut x, normed(&conv.run(hidden, &h, &positions), &layer.attention_norm_after));
                self.feed_forward(layer, &mut x);
                continue;
            }
            let mut q = linear(&layer.q, hidden, &h, layer.q_bias.as_deref(), None);
            let mut k = linear(&layer.k, hidden, &h, layer.k_bias.as_deref(), None);
            let v = linear(&layer.v, hidden, &h, layer.v_bias.as_deref(), None);
            if let Some(gain) = &layer.q_norm {
                q = head_norm(&q, gain, eps);
            }
            if let Some(gain) = &layer.k_norm {
                k = head_norm(&k, gain, eps);
            }
            let rotated = |x: &[f32], n: usize| {
                let mut y = rope(x, &positions, n, inverse_frequencies);
                for head in y.chunks_exact_mut(heads.head_dim) {
                    head[..2 * inverse_frequencies.len()].iter_mut().for_each(|value| *value *= magnitude);
                }
                y
            };
            let (q, k) = (rotated(&q, heads.heads), rotated(&k, heads.kv_heads));
            let a = attention(*heads, &q, &positions, &k, &v);
            let y = linear(&layer.o, heads.heads * heads.head_dim, &a, None, None);
            add(&mut x, normed(&y, &layer.attention_norm_after));
            self.feed_forward(layer, &mut x);
        }
        rms_norm(&x, &self.norm, eps)
    }

    /// Adds the feed-forward half of `layer` to the residual stream.
    fn feed_forward(&self, layer: &LayerWeights, x: &mut [f32]) {
        let &ModelShape { hidden, norm_eps: eps, residual_scale, .. } = &self.shape;
        let normed = |x: &[f32], gain: &Option<Vec<f32>>| match gain {
            Some(gain) => rms_norm(x, gain, eps),
            None => x.to_vec(),
        };
        let h = normed(x, &layer.mlp_norm);
        let gates = linear(&layer.gate, hidden, &h, None, None);
        let up = linear(&layer.up, hidden, &h, None, None);
        let ffn = layer.gate.len() / hidden;
        let y = linear(&layer.down, ffn, &glu(layer.shape.gate, &gates, &up), None, None);
        let y = normed(&y, &layer.mlp_norm_after);
        x.iter_mut().zip(y).for_each(|(x, y)| *x += residual_scale * y);
    }

    /// The logits after each token of one sequence, `(ids.len(), vocab)`.
    pub fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let head = self.head.as_ref().unwrap_or(&self.embed);
        let logits = linear(head, self.shape.hidden, &self.hidden(ids), None, None);
        cap_logits(self.shape.logit_scale, self.shape.logit_cap, &logits)
    }
}
