//! Hugging Face directories: sound ones, sharded ones, and ones that contradict themselves.

use std::path::Path;

use parr::format::{Checkpoint, LoadError};
use parr::quant::Quant;
use tempfile::TempDir;

use super::{check_message, tiny};

const ENTRY: &str = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;

/// A safetensors file that holds the f32 `value` under `name`.
fn shard(name: &str, value: f32) -> Vec<u8> {
    let json = format!(r#"{{"{name}":{ENTRY}}}"#);
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(value.to_le_bytes());
    bytes
}

/// A directory with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// A directory of shards `1.safetensors` (tensor `a`) and `2.safetensors` (tensor `b`) with this
/// `weight_map`.
fn sharded(weight_map: &str) -> TempDir {
    folder(&[
        ("config.json", b"{}"),
        ("1.safetensors", &shard("a", 1.0)),
        ("2.safetensors", &shard("b", 2.0)),
        ("model.safetensors.index.json", format!(r#"{{"weight_map":{weight_map}}}"#).as_bytes()),
    ])
}

fn refused(folder: &TempDir, file: &str, says: &[&str]) {
    let error: LoadError = Checkpoint::open(folder.path()).unwrap_err();
    let path = if file.is_empty() { folder.path().to_owned() } else { folder.path().join(file) };
    check_message(file, &error, &path, says);
}

#[test]
fn tiny_models_open_with_all_their_tensors() {
    // Two tensors outside the layers (three with an output matrix), nine in each of three layers,
    // and Qwen2's three biases.
    for (name, count) in [("llama-mha-untied", 30), ("llama3-rope-gqa", 29), ("qwen2-bias", 38)] {
        let checkpoint = Checkpoint::open(&tiny(name)).unwrap();
        assert_eq!(checkpoint.tensors().count(), count, "{name}");
        let tensor = checkpoint.need_tensor("model.embed_tokens.weight", &[512, 64]).unwrap();
        assert_eq!((tensor.quant, tensor.rope_permuted), (Quant::F32, false), "{name}");
        assert_eq!(checkpoint.bytes(tensor).len(), 512 * 64 * 4);
        let total: usize = checkpoint.tensors().map(|tensor| checkpoint.bytes(tensor).len()).sum();
        let file = std::fs::metadata(tiny(name).join("model.safetensors")).unwrap();
        assert!((total as u64) < file.len() && file.len() < total as u64 + 10_000, "{name}");
        assert!(checkpoint.gguf().is_none() && checkpoint.config_json().is_some());
        assert!(checkpoint.file_beside("generation_config.json").is_some());
        assert!(checkpoint.file_beside("tokenizer.json").is_none());
        assert_eq!(checkpoint.content_hash().unwrap().len(), 64);
    }
}

#[test]
fn wanted_tensors_are_checked_by_shape() {
    let checkpoint = Checkpoint::open(&tiny("qwen2-bias")).unwrap();
    let error = checkpoint.need_tensor("model.norm.weight", &[65]).unwrap_err();
    let file = tiny("qwen2-bias").join("model.safetensors");
    check_message("shape", &error, &file, &["`model.norm.weight`", "[64]", "expected [65]"]);
    let error = checkpoint.need_tensor("lm_head.weight", &[512, 64]).unwrap_err();
    check_message("missing", &error, &tiny("qwen2-bias"), &["holds no tensor `lm_head.weight`"]);
}

#[test]
fn shards_are_joined() {
    let folder = sharded(r#"{"b":"2.safetensors","a":"1.safetensors"}"#);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    for (name, value) in [("a", 1.0f32), ("b", 2.0)] {
        let tensor = checkpoint.tensor(name).unwrap();
        assert_eq!(checkpoint.bytes(tensor), value.to_le_bytes());
    }
    // The hash covers every file: change one shard's data and it changes.
    let hash = checkpoint.content_hash().unwrap();
    std::fs::write(folder.path().join("2.safetensors"), shard("b", 3.0)).unwrap();
    assert_ne!(Checkpoint::open(folder.path()).unwrap().content_hash().unwrap(), hash);
}

#[test]
fn directories_that_are_no_models_are_refused() {
    refused(&folder(&[]), "", &["no config.json", "gguf"]);
    refused(&folder(&[("config.json", b"{}")]), "", &["neither model.safetensors nor"]);
    let json = folder(&[("config.json", b"{\n \"a\": ,}")]);
    refused(&json, "config.json", &["byte 8", "expected value"]);
    refused(&folder(&[("config.json", b"[]")]), "config.json", &["a JSON object"]);
    let broken = folder(&[("config.json", b"{}"), ("model.safetensors", b"12345678")]);
    refused(&broken, "model.safetensors", &["byte 0", "header"]);
}

#[test]
fn indexes_that_contradict_the_shards_are_refused() {
    const INDEX: &str = "model.safetensors.index.json";
    let refused = |weight_map: &str, says: &[&str]| refused(&sharded(weight_map), INDEX, says);
    refused("{}", &["`weight_map`", "names no file"]);
    refused("5", &["integer `5`"]);
    refused(r#"{"a":"../1.safetensors"}"#, &["`weight_map`", "../1.safetensors", "in the same directory"]);
    refused(r#"{"a":"/etc/passwd"}"#, &["`weight_map`", "/etc/passwd"]);
    refused(r#"{"a":"weights.bin"}"#, &["`weight_map`", "weights.bin"]);
    refused(r#"{"a":"1.safetensors","b":"1.safetensors"}"#, &["names tensor `b`, which 1.safetensors lacks"]);
    refused(r#"{"a":"2.safetensors","b":"2.safetensors"}"#, &["names tensor `a`, which 2.safetensors lacks"]);
    refused(r#"{"c":"1.safetensors","b":"2.safetensors"}"#, &["does not name 1.safetensors for tensor `a`"]);
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let folder = sharded(r#"{"a":"1.safetensors","b":"2.safetensors"}"#);
    std::fs::write(folder.path().join("2.safetensors"), shard("a", 2.0)).unwrap();
    refused(&folder, "model.safetensors.index.json", &["both 1.safetensors and 2.safetensors", "`a`"]);
}

#[test]
fn a_missing_shard_is_named() {
    let folder = sharded(r#"{"a":"1.safetensors","b":"3.safetensors"}"#);
    refused(&folder, "3.safetensors", &["cannot read"]);
}

#[test]
fn single_files_that_are_no_gguf_are_refused() {
    let folder = folder(&[("model.safetensors", &shard("a", 1.0)), ("notes.txt", b"hello, world")]);
    let open = |name: &str| Checkpoint::open(&folder.path().join(name)).unwrap_err();
    let path = folder.path().join("model.safetensors");
    check_message("safetensors", &open("model.safetensors"), &path, &["name the directory"]);
    check_message("text", &open("notes.txt"), &folder.path().join("notes.txt"), &["starts with `GGUF`"]);
    #[cfg(unix)]
    check_message(
        "device",
        &Checkpoint::open(Path::new("/dev/null")).unwrap_err(),
        Path::new("/dev/null"),
        &["regular file"],
    );
}
