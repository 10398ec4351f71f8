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

/// A folder with prompts.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(prompts: &str) -> Bench {
        let folder = tempfile::tempdir().expect("a scratch directory");
        fs::write(folder.path().join("prompts.jsonl"), prompts).expect("a scratch directory is writable");
        Bench { folder }
    }

    /// What the program says when it refuses; nothing is left behind.
    fn refused(&self, model: &str, with: &[&str]) -> String {
        let [prompts, out] = ["prompts.jsonl", "run"].map(|name| self.folder.path().join(name));
        let mut command = parr();
        command.args(["self-align", "--model", model]).args(with);
        let output = command.arg("--prompts").arg(&prompts).arg("--out").arg(&out).output();
        let output = output.expect("the program starts");
        assert!(!output.status.success() && !out.exists(), "{}", stderr(&output));
        stderr(&output)
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_place() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let twice = Bench::new("{\"id\": \"a\", \"prompt\": \"Tea?\"}\n{\"id\": \"a\", \"prompt\": \"Milk?\"}\n");
    let refused = twice.refused(&tiny(), &[]);
    assert!(refused.contains("prompts.jsonl line 2: the id `a` is already used on line 1"), "{refused}");
    let sound = Bench::new("{\"id\": \"a\", \"prompt\": \"Tea?\"}\n");
    assert!(sound.refused(&tiny(), &[]).contains("no tokenizer"));
    let other = sound.refused(&tiny(), &["--rules", "policy"]);
    assert!(other.contains("the exemplars are for the set `self-align`"), "{other}");
}

#[test]
fn more_tokens_than_there_is_room_for_are_refused() {
    let _turn = support::gpu::turn();
    let model = smollm2();
    let bench = Bench::new("{\"id\": \"a\", \"prompt\": \"Tea?\"}\n");
    let refused = bench.refused(&model, &["--max-tokens", "8000"]);
    assert!(refused.contains("request and answer leave room for 64"), "{refused}");
}
