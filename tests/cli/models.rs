//! What the program says about models that are damaged, odd, or in formats that it does not read.

use std::fs;
use std::path::Path;

use super::{feed, needs_gpu, parr, rows, stderr};
use crate::support::synthetic::{ODD, weights, write_directory};

fn logprobs(model: &Path, more: &[&str]) -> std::process::Output {
    let mut command = parr();
    command.args(["logprobs", "-", "--model"]).arg(model).args(more);
    feed(&mut command, "{\"ids\": [3, 41, 93, 159]}\n")
}

#[test]
fn nan_in_a_weight_is_an_error_with_layer_and_tensor() {
    needs_gpu();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let name = "model.layers.1.self_attn.q_proj.weight";
    let mut tensors = weights(&ODD);
    tensors.get_mut(name).expect("a matrix").1[250] = f32::NAN;
    write_directory(&ODD, &tensors, folder.path());
    let run = logprobs(folder.path(), &[]);
    assert_eq!(run.status.code(), Some(1));
    let said = stderr(&run);
    let wanted = "error: request 0: NaN or infinite values appear first in layer 1 (attention), at token 0";
    assert!(said.contains(wanted) && said.contains(name) && said.contains("row 2, column 50"), "{said}");
}

#[test]
fn keys_beyond_f16_name_the_flag_that_helps() {
    needs_gpu();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut tensors = weights(&ODD);
    let keys = &mut tensors.get_mut("model.layers.0.self_attn.k_proj.weight").expect("a matrix").1;
    keys.iter_mut().for_each(|weight| *weight *= 1e5);
    write_directory(&ODD, &tensors, folder.path());
    let run = logprobs(folder.path(), &[]);
    assert_eq!(run.status.code(), Some(1));
    let said = stderr(&run);
    assert!(said.contains("the keys of layer 0 reach") && said.contains("--kv f32"), "{said}");
    assert_eq!(rows(&logprobs(folder.path(), &["--kv", "f32"])).len(), 1);
}

#[test]
fn tensors_that_nothing_reads_are_noted_once() {
    needs_gpu();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut tensors = weights(&ODD);
    tensors.insert("model.layers.7.mlp.up_proj.weight".into(), (vec![2], vec![0.0; 2]));
    write_directory(&ODD, &tensors, folder.path());
    let run = logprobs(folder.path(), &[]);
    assert_eq!(rows(&run).len(), 1);
    let note = "1 tensor of the model is not used: `model.layers.7.mlp.up_proj.weight`";
    assert_eq!(stderr(&run).matches(note).count(), 1, "{}", stderr(&run));
    assert_eq!(stderr(&logprobs(folder.path(), &["-q"])), "");
}

#[test]
fn a_format_that_is_not_read_is_named_and_not_called_damage() {
    needs_gpu();
    let folder = tempfile::tempdir().expect("a temporary directory");
    write_directory(&ODD, &weights(&ODD), folder.path());
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("just written");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).expect("JSON");
    // The name of the format has the same length, so that no offset moves.
    let at = header.find("\"lm_head.weight\":{\"dtype\":\"F32\"").expect("a head in F32");
    let header = format!("{}{}", &header[..at], header[at..].replacen("F32", "I32", 1));
    fs::write(&path, [&bytes[..8], header.as_bytes(), &bytes[8 + length..]].concat()).expect("written");
    let run = logprobs(folder.path(), &[]);
    assert_eq!(run.status.code(), Some(1));
    let said = stderr(&run);
    assert!(said.contains("tensor `lm_head.weight` has format I32, which Parr does not read"), "{said}");
    assert!(!said.contains("malformed") && !said.contains("download"), "{said}");
}
