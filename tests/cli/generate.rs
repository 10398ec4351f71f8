//! `parr generate`: one prompt, many rows, and what is wrong with a row.

use std::fs;

use serde_json::{Value, json};

use super::{feed, golden, parr, rows, smollm2, stderr, stdout};

/// Prompts with the ids that PyTorch's greedy search gives.
fn cases() -> Vec<(String, Vec<Value>)> {
    let text = fs::read_to_string(golden("smollm2/logits.json")).expect("a golden file");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let prompts = golden["prompts"].as_array().expect("an array");
    let case = |case: &Value| {
        let prompt = case["prompt"].as_str().expect("a prompt").to_owned();
        (prompt, case["greedy"].as_array().expect("ids").clone())
    };
    prompts.iter().map(case).collect()
}

#[test]
fn a_prompt_is_answered_as_pytorch_answers_it() {
    let model = smollm2();
    let arguments =
        ["generate", "What is the capital of France?", "--temperature", "0", "--kv", "f32", "--model"];
    let text = parr().args(arguments).arg(&model).output().expect("the program starts");
    assert_eq!(stdout(&text), "The capital of France is Paris.\n", "{}", stderr(&text));

    let stopped = parr().args(arguments).arg(&model).args(["--json", "--stop", " is"]).output();
    let stopped = rows(&stopped.expect("the program starts")).swap_remove(0);
    assert_eq!(stopped["text"], "The capital of France");
    assert_eq!(stopped["finish"], "stop");
}

#[test]
fn rows_come_back_in_order_with_their_ids() {
    let model = smollm2();
    let cases = cases();
    let input: String = cases
        .iter()
        .enumerate()
        .map(|(i, (prompt, _))| {
            format!("{}\n\n", json!({ "prompt": prompt, "id": {"n": i}, "max_tokens": 8 }))
        })
        .collect();
    let mut command = parr();
    command.args([
        "generate",
        "--jsonl",
        "-",
        "--batch",
        "2",
        "--temperature",
        "0",
        "--kv",
        "f32",
        "--model",
    ]);
    let replies = rows(&feed(command.arg(&model), &input));
    assert_eq!(replies.len(), cases.len());
    for (i, (reply, (prompt, greedy))) in replies.iter().zip(&cases).enumerate() {
        assert_eq!(reply["line"], 2 * i + 1);
        assert_eq!(reply["id"]["n"], i);
        let tokens = reply["tokens"].as_array().expect("ids");
        assert_eq!(tokens[..], greedy[..tokens.len()], "{prompt}");
        assert_eq!(reply["logprobs"].as_array().map(Vec::len), Some(tokens.len()));
    }
}

#[test]
fn a_mistake_in_a_row_is_named_before_any_work() {
    let run = feed(parr().args(["generate", "--jsonl", "-"]), "{\"prompt\":\"a\"}\n{\"promt\":\"b\"}\n");
    assert_eq!(run.status.code(), Some(1));
    let said = stderr(&run);
    assert!(said.starts_with("error: standard input line 2: unknown field `promt`"), "{said}");
    assert_eq!(stdout(&run), "");

    let missing =
        parr().args(["generate", "--jsonl", "no-such-file.jsonl"]).output().expect("the program starts");
    assert!(stderr(&missing).starts_with("error: cannot read no-such-file.jsonl\n  caused by: "));

    let neither = parr().arg("generate").output().expect("the program starts");
    assert_eq!(neither.status.code(), Some(2));
}

#[test]
fn a_row_that_does_not_fit_is_named() {
    let model = smollm2();
    let input = format!("{}\n{}\n", json!({ "prompt": "Hi" }), json!({ "prompt": "word ".repeat(100) }));
    let run =
        feed(parr().args(["generate", "--jsonl", "-", "--context", "64", "--model"]).arg(&model), &input);
    assert_eq!(run.status.code(), Some(1));
    let said = stderr(&run);
    assert!(said.contains("line 2: the prompt has ") && said.contains("the context has 64"), "{said}");
}
