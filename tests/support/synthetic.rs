//! Models of any shape with pseudo-random weights, as Hugging Face directories.

use std::collections::BTreeMap;
use std::path::Path;

use parr::random::{Philox, Purpose};
use safetensors::tensor::{Dtype, TensorView};

/// A model's shape as its `config.json` tells it.
#[derive(Clone, Copy)]
pub struct Shape {
    pub model_type: &'static str,
    pub vocab: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub ffn: usize,
    pub window: Option<usize>,
    pub tied: bool,
}

/// Layers of all of them.
pub const LAYERS: usize = 2;

/// Taps of a convolution.
pub const TAPS: usize = 3;

impl Shape {
    /// Whether a layer has a convolution in place of attention: the first one of LFM2.
    pub fn has_conv(&self, layer: usize) -> bool {
        self.model_type == "lfm2" && layer == 0
    }
}

/// Nothing divides anything: 20 dimensions a head, 100 columns, 517 tokens.
pub const ODD: Shape = Shape {
    model_type: "llama",
    vocab: 517,
    hidden: 100,
    heads: 6,
    kv_heads: 2,
    head_dim: 20,
    ffn: 92,
    window: None,
    tied: false,
};

/// A convolution below attention, with the same widths.
pub const LFM2: Shape = Shape { model_type: "lfm2", tied: true, ..ODD };

/// Shape and values by name.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Weights that make attention and gates respond.
pub fn weights(shape: &Shape) -> Tensors {
    let Shape { vocab, hidden, heads, kv_heads, head_dim, ffn, .. } = *shape;
    let mut tensors = Tensors::new();
    let mut put = |name: String, dims: &[usize], scale: f32, center: f32| {
        let n: usize = dims.iter().product();
        let step = tensors.len() as u32;
        let draw = |index| Philox::new(11).uniform(Purpose::RandomWeights, step, index, 0) - 0.5;
        let values = (0..n as u32).map(|index| center + scale * draw(index)).collect();
        tensors.insert(name, (dims.to_vec(), values));
    };
    put("model.embed_tokens.weight".into(), &[vocab, hidden], 1.0, 0.0);
    put("model.norm.weight".into(), &[hidden], 0.5, 1.0);
    if !shape.tied {
        put("lm_head.weight".into(), &[vocab, hidden], 1.0, 0.0);
    }
    for layer in 0..LAYERS {
        let mut matrix = |name: &str, rows: usize, cols: usize| {
            put(
                format!("model.layers.{layer}.{name}.weight"),
                &[rows, cols],
                4.0 / (cols as f32).sqrt(),
                0.0,
            );
        };
        if shape.has_conv(layer) {
            matrix("conv.in_proj", 3 * hidden, hidden);
            matrix("conv.conv", hidden, TAPS);
            matrix("conv.out_proj", hidden, hidden);
        } else {
            matrix("self_attn.q_proj", heads * head_dim, hidden);
            matrix("self_attn.k_proj", kv_heads * head_dim, hidden);
            matrix("self_attn.v_proj", kv_heads * head_dim, hidden);
            matrix("self_attn.o_proj", hidden, heads * head_dim);
        }
        matrix("mlp.gate_proj", ffn, hidden);
        matrix("mlp.up_proj", ffn, hidden);
        matrix("mlp.down_proj", hidden, ffn);
        let mut norm =
            |name: &str, len: usize| put(format!("model.layers.{layer}.{name}.weight"), &[len], 0.5, 1.0);
        norm("input_layernorm", hidden);
        norm("post_attention_layernorm", hidden);
        if shape.model_type == "qwen3" || shape.model_type == "lfm2" && !shape.has_conv(layer) {
            norm("self_attn.q_norm", head_dim);
            norm("self_attn.k_norm", head_dim);
        }
    }
    tensors
}

/// Writes `config.json` and `model.safetensors`.
pub fn write_directory(shape: &Shape, tensors: &Tensors, directory: &Path) {
    let mut config = serde_json::json!({
        "model_type": shape.model_type, "vocab_size": shape.vocab, "hidden_size": shape.hidden,
        "num_hidden_layers": LAYERS, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "intermediate_size": shape.ffn, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "max_position_embeddings": 256, "tie_word_embeddings": shape.tied,
        "rope_parameters": { "rope_type": "default", "rope_theta": 10000.0 },
    });
    if shape.model_type == "lfm2" {
        config["norm_eps"] = config["rms_norm_eps"].clone();
        config["block_auto_adjust_ff_dim"] = false.into();
        config["conv_L_cache"] = TAPS.into();
        let kind = |layer| if shape.has_conv(layer) { "conv" } else { "full_attention" };
        config["layer_types"] = (0..LAYERS).map(kind).collect();
    }
    if let Some(window) = shape.window {
        config["sliding_window"] = window.into();
    }
    std::fs::write(directory.join("config.json"), config.to_string())
        .expect("a scratch directory is writable");
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, (dims, values))| {
            let bytes = bytemuck::cast_slice(values);
            (&name[..], TensorView::new(Dtype::F32, dims.clone(), bytes).expect("dims match the values"))
        })
        .collect();
    let bytes = safetensors::serialize(views, None).expect("sound tensors");
    std::fs::write(directory.join("model.safetensors"), bytes).expect("a scratch directory is writable");
}
