//! Any bytes as a `config.json`, or as a GGUF file of a model: an error or a configuration that holds what it
//! promises, never a panic.
//!
//! Bytes that begin like GGUF are a file of their own. Others are the configuration of a directory with a few
//! tensors of a small model.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use parr::format::Checkpoint;
use parr::model::config::ModelConfig;

/// A directory of this process, with an embedding of 8 rows of 4 and a query matrix.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("parr-fuzz-config-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary directory is writable");
        let header = r#"{"model.embed_tokens.weight":{"dtype":"BF16","shape":[8,4],"data_offsets":[0,64]},
            "model.layers.0.self_attn.q_norm.weight":{"dtype":"F16","shape":[4],"data_offsets":[64,72]},
            "model.layers.0.self_attn.q_proj.bias":{"dtype":"I8","shape":[4],"data_offsets":[72,76]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + 76, 1);
        fs::write(folder.join("model.safetensors"), file).expect("the temporary directory is writable");
        folder
    })
}

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    let path = if bytes.starts_with(b"GGUF") {
        let path = folder.join("model.gguf");
        fs::write(&path, bytes).expect("the temporary directory is writable");
        path
    } else {
        fs::write(folder.join("config.json"), bytes).expect("the temporary directory is writable");
        folder.clone()
    };
    let Ok(checkpoint) = Checkpoint::open(&path) else { return };
    let Ok(config) = ModelConfig::from_checkpoint(&checkpoint) else { return };
    assert!(config.heads % config.kv_heads == 0 && config.head_dim % 2 == 0);
    assert_eq!(config.rope.inverse_frequencies(config.head_dim).len(), config.head_dim / 2);
    let embedding = checkpoint.tensor("model.embed_tokens.weight").expect("it was checked");
    assert_eq!(embedding.shape, [config.vocab, config.hidden]);
});
