//! `parr perplexity` against the log-probabilities that `parr logprobs` prints.

use std::fs;

use serde_json::{Value, json};

use super::{feed, parr, rows, smollm2, stderr};

const TEXT: &str = "A river runs from the hills to the sea, and on its way it turns the mills, carries the \
    boats and waters the fields of those who live beside it.";

#[test]
fn both_methods_are_means_of_logprobs_within_chunks() {
    let model = smollm2();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("text.txt");
    fs::write(&path, TEXT).expect("written");

    let encoded =
        parr().args(["tokenize", "--json", TEXT, "--model", &model]).output().expect("the program starts");
    let ids = rows(&encoded).swap_remove(0)["ids"].as_array().expect("ids").clone();
    assert!(ids.len() > 24 && !ids.len().is_multiple_of(8), "the last chunk should be a short one");
    let input: String = ids.chunks(8).map(|chunk| format!("{}\n", json!({ "ids": chunk }))).collect();
    let mut command = parr();
    let scored = rows(&feed(command.args(["logprobs", "-", "--kv", "f32", "--model", &model]), &input));
    let logprobs = |row: &Value| row["logprobs"].as_array().expect("an array").clone();

    for (method, first, chunks) in [("full", 0, scored.len()), ("second-half", 4, ids.len() / 8)] {
        let counted: Vec<f64> = scored[..chunks]
            .iter()
            .flat_map(|row| logprobs(row).into_iter().skip(first))
            .filter_map(|logprob| logprob.as_f64())
            .collect();
        let nll = -counted.iter().sum::<f64>() / counted.len() as f64;
        let mut command = parr();
        command.arg("perplexity").arg(&path).args(["--ctx", "8", "--method", method, "--kv", "f32"]);
        let found = command.args(["--json", "--model", &model]).output().expect("the program starts");
        let found = rows(&found).swap_remove(0);
        assert_eq!(found["tokens"], ids.len());
        assert_eq!(found["scored"], counted.len(), "{method}");
        let difference = (found["nll"].as_f64().expect("a number") - nll).abs();
        assert!(difference < 1e-4, "{method}: {} and {nll}", found["nll"]);
    }
}

#[test]
fn a_text_without_a_whole_chunk_is_too_short() {
    let model = smollm2();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("text.txt");
    fs::write(&path, "A").expect("written");
    let run =
        parr().arg("perplexity").arg(&path).args(["--model", &model]).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("has 1 tokens, too few for a chunk of 512"), "{}", stderr(&run));
}
