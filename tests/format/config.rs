//! Model configurations from both sources, and the values they refuse.

use parr::format::gguf::{Array, Value};
use parr::format::{Checkpoint, LoadError};
use parr::model::config::{Architecture, HeadNorm, LayerConfig, ModelConfig, RopeConfig, RopeScaling};
use parr::ops::LogitCap;
use parr::quant::Quant;
use serde_json::{Value as Json, json};

use super::{check_message, tiny};

fn read(folder: &std::path::Path) -> Result<ModelConfig, LoadError> {
    ModelConfig::from_checkpoint(&Checkpoint::open(folder)?)
}

/// Reads tiny model `name` after `edit` has changed its `config.json`.
pub fn edited(name: &str, edit: impl FnOnce(&mut Json)) -> Result<ModelConfig, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(tiny(name).join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let text = std::fs::read_to_string(tiny(name).join("config.json")).unwrap();
    let mut config: Json = serde_json::from_str(&text).unwrap();
    edit(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    read(folder.path())
}

fn set(key: &'static str, value: Json) -> impl FnOnce(&mut Json) {
    move |config| config[key] = value
}

/// Rope of whole heads of `rotary` dimensions.
pub fn rope(theta: f32, rotary: usize, scaling: RopeScaling) -> RopeConfig {
    RopeConfig { theta, rotary, scaling }
}

/// Changes every layer.
fn with_layers(mut config: ModelConfig, edit: impl Fn(&mut LayerConfig)) -> ModelConfig {
    config.layers.iter_mut().for_each(edit);
    config
}

/// The window of each layer.
fn windows(config: &ModelConfig) -> Vec<Option<usize>> {
    config.layers.iter().map(|layer| layer.window).collect()
}

#[test]
fn tiny_models_are_read_whole() {
    let expected = ModelConfig {
        architecture: Architecture::Llama,
        vocab: 512,
        hidden: 64,
        layers: vec![LayerConfig::llama(16, rope(10_000.0, 16, RopeScaling::None)); 3],
        heads: 4,
        kv_heads: 4,
        head_dim: 16,
        ffn: 160,
        norm_eps: 1e-6,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_cap: LogitCap::NONE,
        context: 512,
        tied: false,
        bos: Some(1),
        eos: vec![2],
    };
    assert_eq!(read(&tiny("llama-mha-untied")).unwrap(), expected);
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 64,
    };
    let layer = LayerConfig::llama(16, rope(500_000.0, 16, scaling));
    let llama3 =
        ModelConfig { heads: 8, kv_heads: 2, tied: true, layers: vec![layer; 3], ..expected.clone() };
    assert_eq!(read(&tiny("llama3-rope-gqa")).unwrap(), llama3);
    let qwen2 = ModelConfig { architecture: Architecture::Qwen2, kv_heads: 2, tied: true, ..expected };
    let qwen2 = with_layers(qwen2, |layer| layer.attention_bias = true);
    assert_eq!(read(&tiny("qwen2-bias")).unwrap(), qwen2);
}

#[test]
fn older_rope_keys_mean_the_same() {
    let new = edited("llama3-rope-gqa", |_| ()).unwrap();
    for kind in ["rope_type", "type"] {
        let old = edited("llama3-rope-gqa", |config| {
            let mut parameters = config.as_object_mut().unwrap().remove("rope_parameters").unwrap();
            config["rope_theta"] = parameters.as_object_mut().unwrap().remove("rope_theta").unwrap();
            parameters[kind] = parameters.as_object_mut().unwrap().remove("rope_type").unwrap();
            config["rope_scaling"] = parameters;
        });
        assert_eq!(old.unwrap(), new);
    }
    let linear = edited("llama3-rope-gqa", |config| {
        config["rope_parameters"] = Json::Null;
        config["rope_scaling"] = json!({"type": "linear", "factor": 4.0});
    });
    let linear = linear.unwrap();
    let expected = rope(10_000.0, linear.head_dim, RopeScaling::Linear { factor: 4.0 });
    assert_eq!(linear.layers[0].rope, Some(expected));
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = edited("llama-mha-untied", |config| {
        for key in ["head_dim", "num_key_value_heads", "vocab_size", "rope_parameters", "rms_norm_eps"] {
            config.as_object_mut().unwrap().remove(key);
        }
    });
    assert_eq!(config.unwrap(), read(&tiny("llama-mha-untied")).unwrap());
    let untied = |config: &mut Json| drop(config.as_object_mut().unwrap().remove("tie_word_embeddings"));
    assert!(!edited("llama-mha-untied", untied).unwrap().tied);
}

#[test]
fn sliding_windows_depend_on_the_family() {
    let mistral = |config: &mut Json| {
        config["model_type"] = json!("mistral");
        config["sliding_window"] = json!(64);
    };
    let config = edited("llama-mha-untied", mistral).unwrap();
    assert_eq!((config.architecture, windows(&config)), (Architecture::Llama, vec![Some(64); 3]));

    let qwen = |edit: fn(&mut Json)| {
        edited("qwen2-bias", move |config| {
            config["sliding_window"] = json!(64);
            config["use_sliding_window"] = json!(true);
            config.as_object_mut().unwrap().remove("layer_types");
            edit(config);
        })
    };
    assert_eq!(windows(&qwen(|c| c["use_sliding_window"] = json!(false)).unwrap()), [None; 3]);
    assert_eq!(windows(&qwen(|c| c["max_window_layers"] = json!(3)).unwrap()), [None; 3]);
    assert_eq!(windows(&qwen(|c| c["max_window_layers"] = json!(0)).unwrap()), [Some(64); 3]);
    assert_eq!(windows(&qwen(|c| c["max_window_layers"] = json!(1)).unwrap()), [None, Some(64), Some(64)]);
    let types = json!(["sliding_attention", "full_attention", "sliding_attention"]);
    let mixed = edited("qwen2-bias", move |config| {
        config["sliding_window"] = json!(64);
        config["use_sliding_window"] = json!(true);
        config["layer_types"] = types;
    });
    assert_eq!(windows(&mixed.unwrap()), [Some(64), None, Some(64)]);
    let few = edited("qwen2-bias", |config| {
        config["sliding_window"] = json!(64);
        config["use_sliding_window"] = json!(true);
        config["layer_types"] = json!(["full_attention"]);
    });
    assert!(few.unwrap_err().to_string().contains("`layer_types` has 1 names, expected 3"));
}

#[test]
fn end_tokens_come_from_both_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(tiny("qwen2-bias").join(name), folder.path().join(name)).unwrap();
    }
    let generation = folder.path().join("generation_config.json");
    std::fs::write(&generation, r#"{"eos_token_id": [2, 7]}"#).unwrap();
    assert_eq!(read(folder.path()).unwrap().eos, [2, 7]);
    std::fs::write(&generation, r#"{"eos_token_id": "two"}"#).unwrap();
    let error = read(folder.path()).unwrap_err();
    check_message("eos", &error, &generation, &["`eos_token_id`", "a token id", "\"two\""]);
}

#[test]
fn senseless_configurations_are_refused() {
    type Edit = (&'static str, Json, &'static [&'static str]);
    let cases: Vec<Edit> = vec![
        ("model_type", json!("gpt2"), &["config.json", "\"gpt2\"", "llama"]),
        ("model_type", Json::Null, &["config.json", "`model_type` is missing"]),
        ("model_type", json!(5), &["`model_type` must be a string, found 5"]),
        ("hidden_size", json!(-64), &["`hidden_size` must be a whole number", "-64"]),
        ("hidden_size", json!(64.5), &["`hidden_size` must be a whole number", "64.5"]),
        ("hidden_size", json!(65), &["`model.embed_tokens.weight`", "[512, 64]", "[512, 65]"]),
        ("num_hidden_layers", json!(0), &["`layers` is 0"]),
        ("num_hidden_layers", json!(1u64 << 40), &["`layers` is 1099511627776", "4096"]),
        ("num_attention_heads", Json::Null, &["`num_attention_heads` is missing"]),
        ("num_key_value_heads", json!(3), &["`kv_heads` is 3", "4 heads"]),
        ("num_key_value_heads", json!(0), &["`kv_heads` is 0"]),
        ("head_dim", json!(15), &["`head_dim` is 15", "even"]),
        ("head_dim", json!(u64::MAX), &["`head_dim` is 18446744073709551615"]),
        ("intermediate_size", json!(0), &["`ffn` is 0"]),
        ("vocab_size", json!(500), &["`model.embed_tokens.weight`", "[500, 64]"]),
        ("rms_norm_eps", json!(2.0), &["`norm_eps` is 2"]),
        ("rms_norm_eps", json!("small"), &["`rms_norm_eps` must be a number", "\"small\""]),
        ("max_position_embeddings", json!(0), &["`context` is 0"]),
        ("hidden_act", json!("gelu"), &["hidden_act", "\"gelu\"", "silu"]),
        ("mlp_bias", json!("yes"), &["`mlp_bias` must be true or false"]),
        ("partial_rotary_factor", json!(0.5), &["rotates only 0.5"]),
        (
            "rope_parameters",
            json!({"rope_theta": 1e4, "partial_rotary_factor": 0.25}),
            &["rotates only 0.25"],
        ),
        ("quantization_config", json!({"bits": 4}), &["a method that is not named (quantization_config)"]),
        ("quantization_config", json!({"quant_method": "awq", "bits": 4}), &["by the method awq", "gguf"]),
        ("quantization_config", json!({"quant_method": "gptq"}), &["by the method gptq"]),
        ("quantization_config", json!({"quant_method": "bitsandbytes"}), &["by the method bitsandbytes"]),
        ("quantization_config", json!({"quant_method": "fp8"}), &["by the method fp8"]),
        ("quantization_config", json!([4]), &["`quantization_config` must be an object"]),
        ("compression_config", json!({"quant_method": "compressed-tensors"}), &["compressed-tensors"]),
        ("sliding_window", json!(0), &["`sliding_window` is 0"]),
        ("bos_token_id", json!(512), &["`bos` is token 512"]),
        ("eos_token_id", json!([2, 5000]), &["`eos` is token 5000"]),
        ("eos_token_id", json!([2, -1]), &["`eos_token_id` must be a token id"]),
        ("rope_parameters", json!([1]), &["`rope_parameters` must be an object"]),
        ("rope_parameters", json!({"full_attention": {}}), &["`rope_parameters.rope_type` is missing"]),
        ("rope_parameters", json!({"rope_type": "yarn"}), &["`rope_parameters.factor` is missing"]),
        ("rope_parameters", json!({"rope_type": "dynamic"}), &["`rope_parameters.factor` is missing"]),
        ("rope_parameters", json!({"rope_type": "longrope"}), &["`rope_parameters.short_factor` is missing"]),
        (
            "rope_parameters",
            json!({"type": "su", "short_factor": [1.0], "long_factor": [2.0]}),
            &["`short_factor` has 1 values, expected 8"],
        ),
        (
            "rope_parameters",
            json!({"rope_type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 32}),
            &["`rope scaling`", "0 < beta_slow <= beta_fast"],
        ),
        ("rope_parameters", json!({"rope_type": "mrope"}), &["rope scaling is \"mrope\""]),
        ("rope_parameters", json!({"factor": 4}), &["`rope_parameters.rope_type` is missing"]),
        ("rope_parameters", json!({"rope_type": 1}), &["`rope_parameters.rope_type` must be a string"]),
        ("rope_parameters", json!({"rope_theta": "1e4"}), &["`rope_parameters.rope_theta` must be a number"]),
        ("rope_scaling", json!({"type": "linear", "factor": 2}), &["differs from `rope_parameters`"]),
        ("rope_parameters", json!({"rope_type": "linear"}), &["`rope_parameters.factor` is missing"]),
        ("rope_parameters", json!({"rope_type": "linear", "factor": 0}), &["`rope scaling factor` is 0"]),
        ("rope_parameters", json!({"rope_theta": 0.5}), &["`rope theta` is 0.5"]),
        (
            "rope_parameters",
            json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1,
                   "original_max_position_embeddings": 64}),
            &["`rope scaling`", "low_freq_factor < high_freq_factor"],
        ),
    ];
    for (key, value, says) in cases {
        let message = edited("llama-mha-untied", set(key, value)).expect_err(key).to_string();
        for part in says {
            assert!(message.contains(part), "{key}: does not say {part:?}: {message}");
        }
    }
    let nested = edited("llama-mha-untied", |config| {
        config.as_object_mut().unwrap().remove("hidden_size");
        config["text_config"] = json!({"hidden_size": 64});
    });
    assert!(nested.unwrap_err().to_string().contains("text_config"));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(tiny("qwen2-bias").join("model.safetensors"), folder.path().join("model.safetensors"))
        .unwrap();
    let text = std::fs::read_to_string(tiny("qwen2-bias").join("config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), format!("\u{feff}{text}")).unwrap();
    assert_eq!(read(folder.path()).unwrap(), read(&tiny("qwen2-bias")).unwrap());
}

#[test]
fn tensors_that_the_family_needs_are_missed_by_name() {
    let error = edited("llama3-rope-gqa", set("tie_word_embeddings", json!(false))).unwrap_err();
    assert!(error.to_string().contains("holds no tensor `lm_head.weight`"), "{error}");
    let error = edited("llama-mha-untied", set("model_type", json!("qwen2"))).unwrap_err();
    assert!(error.to_string().contains("`model.layers.0.self_attn.q_proj.bias`"), "{error}");
    let error = edited("llama-mha-untied", set("model_type", json!("qwen3"))).unwrap_err();
    assert!(error.to_string().contains("`model.layers.0.self_attn.q_norm.weight`"), "{error}");
}

/// The metadata of a small model of `architecture`.
pub fn metadata(architecture: &str) -> Vec<(String, Value)> {
    let key = |name: &str| format!("{architecture}.{name}");
    vec![
        ("general.architecture".into(), Value::String(architecture.into())),
        (key("block_count"), Value::U32(2)),
        (key("embedding_length"), Value::U32(64)),
        (key("feed_forward_length"), Value::U32(96)),
        (key("attention.head_count"), Value::U32(4)),
        (key("attention.head_count_kv"), Value::U32(2)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        (key("context_length"), Value::U32(2048)),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(2)),
    ]
}

/// Reads a GGUF file with this metadata, an embedding of 100 rows, and further f32 tensors.
pub fn from_gguf(
    metadata: &[(String, Value)],
    more: &[(&str, &[usize], Quant)],
) -> Result<ModelConfig, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let mut tensors: Vec<(&str, &[usize], Quant)> = vec![("token_embd.weight", &[100, 64], Quant::Q8_0)];
    tensors.extend(more);
    std::fs::write(&path, super::gguf::write(&metadata, &tensors)).unwrap();
    read(&path)
}

#[test]
fn gguf_metadata_is_read_whole() {
    let expected = ModelConfig {
        architecture: Architecture::Llama,
        vocab: 100,
        hidden: 64,
        layers: vec![LayerConfig::llama(16, rope(10_000.0, 16, RopeScaling::None)); 2],
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ffn: 96,
        norm_eps: 1e-5,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_cap: LogitCap::NONE,
        context: 2048,
        tied: true,
        bos: Some(1),
        eos: vec![2],
    };
    assert_eq!(from_gguf(&metadata("llama"), &[]).unwrap(), expected);

    let mut mistral = metadata("llama");
    mistral.push(("llama.attention.sliding_window".into(), Value::U32(512)));
    mistral.push(("llama.rope.freq_base".into(), Value::F32(1e6)));
    mistral.push(("tokenizer.ggml.eot_token_id".into(), Value::U32(9)));
    mistral.push(("llama.attention.key_length".into(), Value::U32(32)));
    let found = from_gguf(&mistral, &[("output.weight", &[100, 64], Quant::F32)]).unwrap();
    let layer = LayerConfig { window: Some(512), ..LayerConfig::llama(32, rope(1e6, 32, RopeScaling::None)) };
    let wanted = ModelConfig {
        layers: vec![layer; 2],
        head_dim: 32,
        tied: false,
        eos: vec![2, 9],
        ..expected.clone()
    };
    assert_eq!(found, wanted);

    let bias = |name| -> (&str, &[usize], Quant) { (name, &[64], Quant::F32) };
    let found =
        from_gguf(&metadata("qwen2"), &[bias("blk.0.attn_q.bias"), bias("blk.1.attn_q.bias")]).unwrap();
    // A bias that only some layers have is not taken for zeros in the others.
    let error = from_gguf(&metadata("qwen2"), &[bias("blk.0.attn_q.bias")]).unwrap_err();
    assert!(error.to_string().contains("no tensor `model.layers.1.self_attn.q_proj.bias`"), "{error}");
    let architecture = Architecture::Qwen2;
    let wanted = ModelConfig { architecture, ..expected.clone() };
    assert_eq!(found, with_layers(wanted, |layer| layer.attention_bias = true));
    let norm = |name| -> (&str, &[usize], Quant) { (name, &[16], Quant::F32) };
    let norms = [norm("blk.0.attn_q_norm.weight"), norm("blk.1.attn_q_norm.weight")];
    let found = from_gguf(&metadata("qwen3"), &norms).unwrap();
    let wanted = ModelConfig { architecture: Architecture::Qwen3, ..expected };
    assert_eq!(found, with_layers(wanted, |layer| layer.head_norm = Some(HeadNorm::Each)));
}

/// The scaling of the first layer.
fn scaling_of(mut config: ModelConfig) -> RopeScaling {
    config.layers.swap_remove(0).rope.expect("a rotation").scaling
}

#[test]
fn gguf_rope_scaling_is_read() {
    let mut linear = metadata("llama");
    linear.push(("llama.rope.scaling.type".into(), Value::String("linear".into())));
    linear.push(("llama.rope.scaling.factor".into(), Value::F32(4.0)));
    let scaling = scaling_of(from_gguf(&linear, &[]).unwrap());
    assert_eq!(scaling, RopeScaling::Linear { factor: 4.0 });
    let with = |pairs: &[(&str, Value)]| {
        let mut metadata = metadata("llama");
        metadata.extend(pairs.iter().map(|(key, value)| (format!("llama.rope.{key}"), value.clone())));
        from_gguf(&metadata, &[]).map(scaling_of)
    };
    let (factor, old) = (("scaling.factor", Value::F32(4.0)), ("scale_linear", Value::F32(2.0)));
    let kind = |name: &str| ("scaling.type", Value::String(name.into()));
    let linear = |factor| Ok::<_, String>(RopeScaling::Linear { factor });
    let cases: [(Vec<(&str, Value)>, _); 7] = [
        // llama.cpp takes a factor without a type as linear, and the older key where there is no other.
        (vec![factor.clone()], linear(4.0)),
        (vec![old.clone()], linear(2.0)),
        (vec![factor.clone(), old.clone()], linear(4.0)),
        (vec![kind("linear"), old.clone()], linear(2.0)),
        (vec![kind("none"), factor.clone()], Ok(RopeScaling::None)),
        (vec![("scaling.factor", Value::F32(1.0))], Ok(RopeScaling::None)),
        (vec![("scaling.factor", Value::F32(0.0))], Ok(RopeScaling::None)),
    ];
    for (pairs, expected) in cases {
        assert_eq!(with(&pairs).map_err(|error| error.to_string()), expected, "{pairs:?}");
    }
    let yarn = with(&[kind("yarn"), factor.clone(), ("scaling.original_context_length", Value::U32(512))]);
    let expected = RopeScaling::Yarn {
        factor: 4.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_context: 512,
        attention_factor: 0.1 * 4f32.ln() + 1.0,
        truncate: true,
    };
    assert_eq!(yarn.unwrap(), expected);
    for name in ["dynamic", "su", ""] {
        let error = with(&[kind(name), factor.clone()]).unwrap_err().to_string();
        assert!(error.contains(&format!("scaling.type` is {name:?}")), "{error}");
    }
    let error = with(&[("scaling.attn_factor", Value::F32(1.2))]).unwrap_err().to_string();
    assert!(error.contains("`llama.rope.scaling.attn_factor` is set"), "{error}");
    let error = with(&[("scaling.factor", Value::String("4".into()))]).unwrap_err().to_string();
    assert!(error.contains("must be a finite number, found a string"), "{error}");
    let error = with(&[("scaling.factor", Value::F32(-2.0))]).unwrap_err().to_string();
    assert!(error.contains("`rope scaling factor` is -2"), "{error}");
    // The writer fills tensor 1 with bytes 1: 0x01010101 as f32.
    let freqs: (&str, &[usize], Quant) = ("rope_freqs.weight", &[8], Quant::F32);
    let scaling = scaling_of(from_gguf(&metadata("llama"), &[freqs]).unwrap());
    assert_eq!(scaling, RopeScaling::Explicit(vec![f32::from_bits(0x0101_0101); 8]));
}

#[test]
fn senseless_gguf_metadata_is_refused() {
    let text = |value: &str| Value::String(value.into());
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("general.architecture", text("mamba"), &["\"mamba\"", "llama"]),
        ("general.architecture", Value::U8(1), &["`general.architecture`", "byte", "found the integer 1"]),
        ("llama.block_count", Value::F32(2.0), &["`llama.block_count`", "byte", "found the float 2"]),
        ("llama.block_count", Value::I32(-2), &["`llama.block_count`", "byte", "found the integer -2"]),
        ("llama.attention.head_count", Value::Array(Array::U32(vec![4, 4])), &["an array of 2 u32"]),
        ("llama.attention.head_count", Value::U32(0), &["`llama.attention.head_count`", "is 0"]),
        ("llama.attention.head_count", Value::U32(5), &["is 5", "width 64"]),
        ("llama.attention.head_count_kv", Value::U32(3), &["`kv_heads` is 3"]),
        ("llama.attention.value_length", Value::U32(8), &["value_length", "is 8", "16"]),
        ("llama.rope.dimension_count", Value::U32(8), &["dimension_count", "is 8"]),
        ("llama.rope.scaling.type", text("yarn"), &["`llama.rope.scaling.factor` is missing"]),
        ("llama.rope.scaling.type", text("linear"), &["`llama.rope.scaling.factor` is missing"]),
        ("llama.rope.freq_base", Value::F32(f32::INFINITY), &["freq_base", "finite"]),
        ("llama.expert_count", Value::U32(8), &["8 experts"]),
        ("llama.logit_scale", Value::F32(0.25), &["`llama.logit_scale` is 0.25"]),
        ("llama.attention.causal", Value::Bool(false), &["`llama.attention.causal` is false"]),
        ("llama.feed_forward_length", Value::U64(u64::MAX), &["`ffn` is 18446744073709551615"]),
        ("llama.context_length", Value::U32(0), &["`context` is 0"]),
        ("llama.embedding_length", Value::U32(96), &["`model.embed_tokens.weight`", "[100, 96]"]),
        ("tokenizer.ggml.eos_token_id", Value::U32(100), &["`eos` is token 100"]),
        ("tokenizer.ggml.bos_token_id", Value::I32(-1), &["bos_token_id", "found the integer -1"]),
        (
            "tokenizer.ggml.tokens",
            Value::Array(Array::String(vec![String::new(); 101])),
            &["`tokenizer.ggml.tokens`", "101 tokens", "100 rows"],
        ),
    ];
    for (key, value, says) in cases {
        let mut metadata = metadata("llama");
        metadata.retain(|(known, _)| known != key);
        metadata.push((key.into(), value));
        let message = from_gguf(&metadata, &[]).expect_err(key).to_string();
        for part in ["model.gguf"].iter().chain(says) {
            assert!(message.contains(part), "{key}: does not say {part:?}: {message}");
        }
    }
    let freqs: (&str, &[usize], Quant) = ("rope_freqs.weight", &[9], Quant::F32);
    let message = from_gguf(&metadata("llama"), &[freqs]).unwrap_err().to_string();
    assert!(message.contains("`rope_freqs.weight` has 9 values, expected 8"), "{message}");
    let freqs: (&str, &[usize], Quant) = ("rope_freqs.weight", &[32], Quant::Q8_0);
    let message = from_gguf(&metadata("llama"), &[freqs]).unwrap_err().to_string();
    assert!(message.contains("`rope_freqs.weight` is stored as q8_0"), "{message}");
}
