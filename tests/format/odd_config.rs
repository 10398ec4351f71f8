//! Odd values in configurations: a message or a sound configuration, never a panic.

use parr::format::gguf::{Array, Value};
use parr::quant::Quant;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::config::{edited, from_gguf, metadata};

/// Keys of `config.json`, known and unknown ones.
const KEYS: [&str; 22] = [
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "rms_norm_eps",
    "max_position_embeddings",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "use_sliding_window",
    "layer_types",
    "max_window_layers",
    "tie_word_embeddings",
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "text_config",
];

fn odd_json() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(64), Just(1 << 20)].prop_map(|n: u64| json!(n)),
        any::<u64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        prop_oneof![Just("llama"), Just("qwen2"), Just("qwen3"), Just("mistral"), Just("linear"), Just("")]
            .prop_map(Json::from),
        Just(json!({"rope_type": "llama3", "factor": 0.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": u64::MAX})),
        Just(json!({"rope_type": "linear", "factor": 1e-300})),
        Just(json!([[["sliding_attention"]], -1, null])),
    ]
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn odd_configurations_never_panic(edits in prop::collection::vec((0..KEYS.len(), odd_json()), 1..4)) {
        let found = edited("qwen2-bias", |config| {
            for (key, value) in edits {
                config[KEYS[key]] = value;
            }
        });
        match found {
            Ok(config) => {
                prop_assert!(config.heads.is_multiple_of(config.kv_heads));
                let rope = config.layers[0].rope.as_ref().expect("a rotation");
                prop_assert!(rope.inverse_frequencies(64).len() == config.head_dim / 2);
            }
            Err(error) => prop_assert!(error.to_string().len() < 600, "{}", error),
        }
    }

    #[test]
    fn odd_gguf_metadata_never_panics(edits in prop::collection::vec((0..14usize, odd_value()), 1..4)) {
        let mut metadata = metadata("llama");
        for (key, value) in edits {
            let key = match metadata.get(key) {
                Some((known, _)) => known.clone(),
                None => ["llama.rope.scaling.factor", "llama.rope.scaling.type", "llama.rope.freq_base",
                         "llama.attention.key_length"][key - 10].to_owned(),
            };
            metadata.retain(|(known, _)| *known != key);
            metadata.push((key, value));
        }
        let freqs: (&str, &[usize], Quant) = ("rope_freqs.weight", &[8], Quant::F32);
        if let Err(error) = from_gguf(&metadata, &[freqs]) {
            prop_assert!(error.to_string().len() < 600, "{}", error);
        }
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        (0..5u8).prop_map(Value::U8),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::String("linear".into())),
        Just(Value::String("\u{1b}[2J".repeat(1000))),
        Just(Value::Array(Array::String(vec![String::new(); 200]))),
    ]
}
