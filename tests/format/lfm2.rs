//! LFM2: layers of two kinds, and the names that its files have of their own.

use std::path::Path;

use parr::format::gguf::{Array, Value, gguf_name};
use parr::format::{Checkpoint, LoadError};
use parr::model::config::{Architecture, HeadNorm, ModelConfig};
use parr::quant::Quant;
use serde_json::{Value as Json, json};

use super::config::{from_gguf, metadata};

/// Reads the golden model after `edit` has changed its `config.json`.
fn edited(edit: impl FnOnce(&mut Json)) -> Result<ModelConfig, LoadError> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/architectures/lfm2");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let text = std::fs::read_to_string(golden.join("config.json")).unwrap();
    let mut config: Json = serde_json::from_str(&text).unwrap();
    edit(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    ModelConfig::from_checkpoint(&Checkpoint::open(folder.path())?)
}

fn convs(config: &ModelConfig) -> Vec<Option<usize>> {
    config.layers.iter().map(|layer| layer.conv).collect()
}

#[test]
fn a_directory_is_read_whole() {
    let config = edited(|_| ()).unwrap();
    assert_eq!(config.architecture, Architecture::Lfm2);
    assert_eq!(convs(&config), [Some(3), None, Some(3), Some(3)]);
    // Two thirds of 100, rounded up to a multiple of 16.
    assert_eq!((config.ffn, config.kv_heads, config.head_dim, config.tied), (80, 2, 12, true));
    assert_eq!((config.norm_eps, config.layers[1].head_norm), (1e-5, Some(HeadNorm::Each)));
    assert_eq!(config.layers[1].rope.as_ref().expect("a rotation").theta, 1e6);
}

#[test]
fn older_keys_mean_the_same() {
    let new = edited(|_| ()).unwrap();
    let old = edited(|config| {
        for key in ["layer_types", "rope_parameters", "intermediate_size", "tie_word_embeddings", "norm_eps"]
        {
            config.as_object_mut().unwrap().remove(key);
        }
        config["full_attn_idxs"] = json!([1]);
        config["block_ff_dim"] = json!(100);
        config["tie_embedding"] = json!(true);
        config["theta"] = json!(1_000_000.0);
    });
    assert_eq!(old.unwrap(), new);
    // A width that is not adjusted, and one with a factor.
    for (changes, ffn) in [
        (json!({ "block_auto_adjust_ff_dim": false }), 100),
        (json!({ "block_ffn_dim_multiplier": 1.5 }), 112),
        (json!({ "block_multiple_of": 256 }), 256),
    ] {
        let config = edited(|config| {
            for (key, value) in changes.as_object().unwrap() {
                config[key] = value.clone();
            }
        });
        assert_eq!(config.unwrap().ffn, ffn, "{changes}");
    }
}

#[test]
fn what_is_not_valid_is_refused_by_name() {
    for (key, value, part) in [
        ("layer_types", json!(["conv"]), "has 1 names, expected 4"),
        ("layer_types", json!(["conv", "full_attention", "mamba", "conv"]), "one of its layers is \"mamba\""),
        ("conv_L_cache", json!(0), "must be 1 to 16"),
        ("conv_L_cache", json!(1000), "must be 1 to 16"),
        ("block_multiple_of", json!(0), "must be at least 1"),
        // The norms of heads are in the second layer only.
        ("layer_types", json!(vec!["full_attention"; 4]), "self_attn.q_norm.weight"),
    ] {
        let error = edited(|config| config[key] = value).unwrap_err().to_string();
        assert!(error.contains(part), "{key}: {error}");
    }
}

#[test]
fn a_file_lists_key_heads_by_layer() {
    let kinds = |heads: Vec<i32>, taps: Option<u32>| {
        let mut pairs = metadata("lfm2");
        pairs.retain(|(key, _)| !key.ends_with("head_count_kv"));
        pairs.push(("lfm2.attention.head_count_kv".into(), Value::Array(Array::I32(heads))));
        pairs.extend(taps.map(|taps| ("lfm2.shortconv.l_cache".to_owned(), Value::U32(taps))));
        let norm = |name| -> (&str, &[usize], Quant) { (name, &[16], Quant::F32) };
        from_gguf(&pairs, &[norm("blk.1.attn_q_norm.weight"), norm("blk.1.attn_k_norm.weight")])
    };
    let config = kinds(vec![0, 2], Some(3)).unwrap();
    assert_eq!((convs(&config), config.kv_heads), (vec![Some(3), None], 2));
    for (heads, taps, part) in [
        (vec![0, 2, 2], Some(3), "has 3 values, expected 2"),
        (vec![0, 2], None, "`lfm2.shortconv.l_cache`"),
        (vec![4, 2], Some(3), "has both 4 and 2"),
        (vec![0, -2], Some(3), "is negative"),
    ] {
        let error = kinds(heads, taps).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn both_names_of_the_last_norm_are_known() {
    let architecture = [("general.architecture", Value::String("lfm2".into()))];
    let folder = tempfile::tempdir().unwrap();
    for (index, norm) in ["token_embd_norm.weight", "output_norm.weight"].into_iter().enumerate() {
        let path = folder.path().join(format!("{index}.gguf"));
        let conv: (&str, &[usize], Quant) = ("blk.3.shortconv.in_proj.weight", &[96, 32], Quant::Q4_0);
        let tensors = [(norm, &[32][..], Quant::F32), conv];
        std::fs::write(&path, super::gguf::write(&architecture, &tensors)).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.tensor("model.norm.weight").expect("the norm").source_name, norm);
        assert!(checkpoint.tensor("model.layers.3.conv.in_proj.weight").is_some());
    }
    // llama.cpp reads this one.
    let found = gguf_name(Some("lfm2"), "model.norm.weight");
    assert_eq!(found.as_deref(), Some("token_embd_norm.weight"));
}
