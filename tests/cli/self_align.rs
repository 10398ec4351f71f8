//! `parr self-align` from outside: its settings, and what it refuses.

use std::fs;

use super::{parr, smollm2, stderr, stdout, tiny};
use crate::support;
use parr::settings::Settings;

#[test]
fn the_printed_settings_are_the_settings() {
    let output = parr().args(["self-align", "--print-config"]).output().expect("the program starts");
    assert_eq!(stdout(&output), parr::self_align::SelfAlignConfig::SAMPLE);
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_place() {
    let _turn = support::gpu::turn();
    if !super::gpu() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (prompts, out) = (folder.path().join("prompts.jsonl"), folder.path().join("run"));
    let run = |model: &str, with: &[&str]| {
        let mut command = parr();
        command.args(["self-align", "--model", model]).args(with);
        let output = command.arg("--prompts").arg(&prompts).arg("--out").arg(&out).output();
        let output = output.expect("the program starts");
        assert!(!output.status.success() && !out.exists(), "{}", stderr(&output));
        stderr(&output)
    };
    fs::write(&prompts, "{\"id\": \"a\", \"prompt\": \"Tea?\"}\n{\"id\": \"a\", \"prompt\": \"Milk?\"}\n")
        .expect("a scratch directory is writable");
    assert!(run(&tiny(), &[]).contains("prompts.jsonl line 2: its id `a` is that of line 1"));
    fs::write(&prompts, "{\"id\": \"a\", \"prompt\": \"Tea?\"}\n").expect("a scratch directory is writable");
    assert!(run(&tiny(), &[]).contains("no tokenizer"));
    assert!(run(&tiny(), &["--rules", "policy"]).contains("the exemplars are for the set `self-align`"));
    if let Some(model) = smollm2() {
        let refused = run(&model, &["--max-tokens", "8000"]);
        assert!(refused.contains("beside request and answer there is room for 64"), "{refused}");
    }
}
