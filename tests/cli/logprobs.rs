//! `parr logprobs` on a model that has nothing but weights.

use std::fs;

use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use super::{feed, golden, needs_gpu, parr, rows, stderr, tiny};

fn floats(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = file.tensor(name).expect("a tensor of that name");
    assert_eq!(tensor.dtype(), Dtype::F32);
    let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
    (tensor.shape().to_vec(), values.collect())
}

fn ids(file: &SafeTensors, name: &str) -> Vec<i64> {
    let data = file.tensor(name).expect("a tensor of that name").data().to_vec();
    data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes"))).collect()
}

#[test]
fn logits_and_logprobs_of_a_bare_directory_agree_with_pytorch() {
    needs_gpu();
    let bytes = fs::read(golden("tiny/llama-mha-untied/expected.safetensors")).expect("a golden file");
    let expected = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (shape, logits) = floats(&expected, "logits");
    let all = ids(&expected, "ids");

    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("logits.safetensors");
    // A short row first: its tensors must not disturb those of the next.
    let input = format!("{}\n{}\n", json!({ "ids": &all[..3] }), json!({ "ids": all, "id": "whole" }));
    let mut command = parr();
    command.args(["logprobs", "-", "--kv", "f32", "--model", &tiny(), "--logits"]).arg(&path);
    let found = rows(&feed(&mut command, &input));
    assert_eq!(found[1]["id"], "whole");

    let bytes = fs::read(&path).expect("written");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!(ids(&file, "2.ids"), all);
    let (found_shape, found_logits) = floats(&file, "2.logits");
    assert_eq!(found_shape, shape);
    let worst = logits.iter().zip(&found_logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 2e-3, "largest difference of a logit {worst}");
    let (short_shape, short) = floats(&file, "1.logits");
    assert_eq!(short_shape, [3, shape[1]]);
    let worst = logits.iter().zip(&short).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 2e-3, "largest difference of a logit {worst}");

    let logprobs = found[1]["logprobs"].as_array().expect("an array");
    assert_eq!(logprobs.len(), all.len() - 1);
    for (t, logprob) in logprobs.iter().enumerate() {
        let row = &logits[t * shape[1]..(t + 1) * shape[1]];
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = f64::from(row[all[t + 1] as usize]) - sum.ln();
        assert!((logprob.as_f64().expect("a number") - expected).abs() <= 1e-3, "token {t}");
    }
    let sum: f64 = logprobs.iter().filter_map(|logprob| logprob.as_f64()).sum();
    assert!((found[1]["sum"].as_f64().expect("a number") - sum).abs() < 1e-3);
}

#[test]
fn rows_that_cannot_be_scored_are_named() {
    needs_gpu();
    for (row, reason) in [
        (r#"{"ids":[1,9999]}"#, "token 9999 at index 1 is outside the vocabulary of 512"),
        (r#"{"ids":[]}"#, "the row has no tokens"),
        (r#"{"text":"a"}"#, "the model has no tokenizer"),
        (r#"{"text":"a","ids":[1]}"#, "give either `text` or `ids`"),
        (r#"{"ids":[-1]}"#, "invalid value: integer `-1`"),
    ] {
        let run =
            feed(parr().args(["logprobs", "-", "--model", &tiny()]), &format!("{{\"ids\":[1,2]}}\n{row}\n"));
        assert_eq!(run.status.code(), Some(1));
        let said = stderr(&run);
        assert!(said.contains(&format!("error: standard input line 2: {reason}")), "{row}: {said}");
    }
}

#[test]
fn compiled_pipelines_are_kept_for_the_next_start() {
    needs_gpu();
    let cache = tempfile::tempdir().expect("a temporary directory");
    let mut command = parr();
    command.args(["logprobs", "-", "--model", &tiny()]).env("PARR_CACHE", cache.path());
    rows(&feed(&mut command, "{\"ids\": [1, 2, 3]}\n"));
    let names = |folder: &str| {
        let files = fs::read_dir(cache.path().join(folder)).into_iter().flatten();
        files.map(|file| file.expect("a readable folder").file_name()).collect::<Vec<_>>()
    };
    // Only Vulkan lets a program keep them; elsewhere the system does.
    let vulkan = parr::gpu::Device::adapters().iter().all(|adapter| adapter.backend == "vulkan");
    assert_eq!(names("pipelines").len(), usize::from(vulkan), "{:?}", names("pipelines"));
    assert!(rows(&feed(&mut command, "{\"ids\": [1, 2, 3]}\n")).len() == 1, "a warm start works");
    #[cfg(unix)]
    if vulkan {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = cache.path().join("pipelines");
        let file = folder.join(&names("pipelines")[0]);
        let mode = |path: &std::path::Path| fs::metadata(path).expect("just written").mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        // Where others could have written they are not used, and the program reports that once.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("it is ours");
        let kept = fs::read(&file).expect("readable");
        let run = feed(&mut command, "{\"ids\": [1, 2, 3]}\n");
        assert_eq!(rows(&run).len(), 1);
        let said = stderr(&run);
        assert_eq!(said.matches("other users can write to").count(), 1, "{said}");
        assert!(said.contains(&format!("chmod go-w {}", folder.display())), "{said}");
        assert!(fs::read(&file).expect("readable") == kept);
    }
}
