//! The `parr` program as a person or a script meets it: arguments, output, exit codes.

mod adapter;
mod align;
mod attributes;
mod bench;
mod chat;
mod doctor;
mod generate;
mod logprobs;
mod models;
mod outputs;
mod perplexity;
mod preferences;
mod principles;
mod processes;
mod pull;
mod reward;
mod self_align;
mod sft;
mod steer;
mod template;
mod text;
mod tokenize;
mod tune;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use parr::gpu::DeviceOptions;
use serde_json::Value;

use crate::support;

/// The built program, with an environment that says nothing.
fn parr() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parr"));
    for name in ["PARR_GPU", "PARR_KERNELS", "HF_ENDPOINT", "HF_TOKEN"] {
        command.env_remove(name);
    }
    command
}

/// For tests whose programs use the GPU: ends the test as `support::gpu::open` does where there is none.
fn needs_gpu() {
    drop(support::gpu::open(&DeviceOptions::default()));
}

/// SmolLM2 as an argument, for programs that run it on the GPU.
fn smollm2() -> String {
    needs_gpu();
    support::model::smollm2().to_str().expect("a UTF-8 path").to_owned()
}

/// A model of random weights, a few hundred kilobytes in all; it has no tokenizer.
fn tiny() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tiny/llama-mha-untied").to_owned()
}

/// Runs `command` with `input` on standard input.
fn feed(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped above");
    // A program that finds a mistake early does not read to the end.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

/// Standard output as JSON Lines.
fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().map(|line| serde_json::from_str(line).expect("a JSON value a line")).collect()
}

/// A file of `tests/golden/`.
fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on standard error")
}

#[test]
fn wrong_usage_exits_with_2_and_failure_with_1() {
    let usage = parr().args(["pull", "no-such-name"]).output().expect("the program starts");
    assert_eq!(usage.status.code(), Some(2));
    assert!(stderr(&usage).starts_with("error: cannot pull `no-such-name`"), "{}", stderr(&usage));

    let unknown = parr().arg("fly").output().expect("the program starts");
    assert_eq!(unknown.status.code(), Some(2));

    let closed = parr().args(["pull", "org/repo"]).env("HF_ENDPOINT", "http://127.0.0.1:1").output();
    let closed = closed.expect("the program starts");
    assert_eq!(closed.status.code(), Some(1));
    assert!(stderr(&closed).starts_with("error: cannot reach http://127.0.0.1:1/"), "{}", stderr(&closed));
}
