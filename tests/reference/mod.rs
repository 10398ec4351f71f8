//! `parr::reference` against PyTorch: whole forward passes of tiny random models.

use std::path::{Path, PathBuf};

use parr::reference::{
    AttentionShape,
    model::{ConvWeights, LayerShape, LayerWeights, Model, ModelShape},
    rope::{inverse_frequencies, llama3_scaled},
    silu,
};
use safetensors::SafeTensors;
use serde_json::Value;

/// Largest difference between an oracle logit and PyTorch's, which sums in f32.
const LOGIT_TOLERANCE: f32 = 1e-4;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny").join(name)
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Option<Vec<f32>> {
    let tensor = file.tensor(name).ok()?;
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
    Some(tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Reads a Hugging Face directory without the library's own loader, which has its own tests.
/// The oracle with the weights of a directory in the layout of Hugging Face, all of them f32.
pub fn load(directory: &Path) -> Model {
    let config: Value =
        serde_json::from_slice(&std::fs::read(directory.join("config.json")).expect("config.json"))
            .expect("config.json is JSON");
    let number = |v: &Value, key: &str| v[key].as_f64();
    let count = |key: &str| config[key].as_u64().map(|v| v as usize);
    let heads = count("num_attention_heads").expect("heads");
    let hidden = count("hidden_size").expect("hidden");
    let head_dim = count("head_dim").unwrap_or(hidden / heads);
    let rope = &config["rope_parameters"];
    let mut frequencies = inverse_frequencies(head_dim, number(rope, "rope_theta").expect("theta") as f32);
    if rope["rope_type"] == "llama3" {
        frequencies = llama3_scaled(
            &frequencies,
            number(rope, "factor").expect("factor") as f32,
            number(rope, "low_freq_factor").expect("low") as f32,
            number(rope, "high_freq_factor").expect("high") as f32,
            rope["original_max_position_embeddings"].as_u64().expect("context") as usize,
        );
    }

    let bytes = std::fs::read(directory.join("model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("weights are safetensors");
    let get = |name: String| floats(&file, &name).unwrap_or_else(|| panic!("no tensor {name}"));
    let layer = |i: usize| {
        let weight = |name: &str| get(format!("model.layers.{i}.{name}.weight"));
        let maybe = |name: &str| floats(&file, &format!("model.layers.{i}.self_attn.{name}"));
        let conv = config["layer_types"][i] == "conv";
        let attention = |name: &str| if conv { Vec::new() } else { weight(name) };
        LayerWeights {
            shape: LayerShape {
                attention: AttentionShape {
                    heads,
                    kv_heads: count("num_key_value_heads").expect("kv heads"),
                    head_dim,
                    window: count("sliding_window"),
                    scale: None,
                    cap: None,
                },
                inverse_frequencies: frequencies.clone(),
                magnitude: 1.0,
                gate: silu,
            },
            attention_norm: Some(weight("input_layernorm")),
            attention_norm_after: None,
            mlp_norm_after: None,
            conv: conv.then(|| ConvWeights {
                input: weight("conv.in_proj"),
                taps: weight("conv.conv"),
                output: weight("conv.out_proj"),
                biases: None,
            }),
            q: attention("self_attn.q_proj"),
            k: attention("self_attn.k_proj"),
            v: attention("self_attn.v_proj"),
            o: attention("self_attn.o_proj"),
            q_bias: maybe("q_proj.bias"),
            k_bias: maybe("k_proj.bias"),
            v_bias: maybe("v_proj.bias"),
            q_norm: maybe("q_norm.weight"),
            k_norm: maybe("k_norm.weight"),
            mlp_norm: Some(weight("post_attention_layernorm")),
            gate: weight("mlp.gate_proj"),
            up: weight("mlp.up_proj"),
            down: weight("mlp.down_proj"),
        }
    };
    Model {
        shape: ModelShape::plain(hidden, number(&config, "rms_norm_eps").expect("eps") as f32),
        embed: get("model.embed_tokens.weight".into()),
        layers: (0..count("num_hidden_layers").expect("layers")).map(layer).collect(),
        norm: get("model.norm.weight".into()),
        head: floats(&file, "lm_head.weight"),
    }
}

fn agrees_with_pytorch(name: &str) {
    let directory = golden(name);
    let bytes = std::fs::read(directory.join("expected.safetensors")).expect("expected values");
    let file = SafeTensors::deserialize(&bytes).expect("expected values are safetensors");
    let ids: Vec<u32> = file
        .tensor("ids")
        .expect("ids")
        .data()
        .chunks_exact(8)
        .map(|b| i64::from_le_bytes(b.try_into().expect("chunks of 8")) as u32)
        .collect();
    let expected = floats(&file, "logits").expect("logits");
    let found = load(&directory).logits(&ids);
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    println!("{name}: worst difference {worst:e}, largest logit {largest}");
    assert!(largest > 0.1, "{name}: logits too small for the tolerance to mean anything");
    assert!(worst <= LOGIT_TOLERANCE, "{name}: worst difference {worst:e}");
}

#[test]
fn llama_with_as_many_kv_heads_and_its_own_head() {
    agrees_with_pytorch("llama-mha-untied");
}

#[test]
fn llama3_with_scaled_rope_and_grouped_queries() {
    agrees_with_pytorch("llama3-rope-gqa");
}

#[test]
fn qwen2_with_biases() {
    agrees_with_pytorch("qwen2-bias");
}
