//! The examples in `examples/` as a reader would run them, on SmolLM2, with few training steps.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support;

/// Runs an example and returns its standard output. Cargo builds the examples before the tests.
fn run(name: &str, arguments: &[&str]) -> String {
    let _model = support::model::smollm2();
    let _turn = support::gpu::turn();
    drop(support::gpu::open(&parr::gpu::DeviceOptions::default()));
    let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_parr")).with_file_name("examples").join(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "{} is missing: run `cargo build --examples`", program.display());
    let run = Command::new(program).args(arguments).output().expect("the example starts");
    assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("text")
}

#[test]
fn chat_answers() {
    let text = run("chat", &["smollm2", "What is the capital of France?"]);
    assert!(text.starts_with("> What is the capital of France?\n"), "{text}");
    assert!(text.contains("Paris"), "{text}");
}

#[test]
fn score_prefers_the_short_reply_and_the_long_one_under_the_negative() {
    let text = run("score", &[]);
    let scores: Vec<f32> =
        text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    assert_eq!(scores.len(), 4, "{text}");
    assert!(scores[0] > scores[1] && scores[2] < scores[3], "{text}");
}

#[test]
fn finetune_trains_and_chats() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("pirate");
    let text = run("finetune", &[&out.to_string_lossy(), "2"]);
    assert!(text.starts_with("step 1: loss ") && text.contains("\nstep 2: loss "), "{text}");
    assert!(text.lines().count() > 2, "{text}");
    assert!(out.join("adapter/adapter_model.safetensors").is_file());
}

#[test]
fn align_trains_a_policy() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("brief");
    let text = run("align", &[&out.to_string_lossy(), "1"]);
    assert!(text.starts_with("step 1: reward ") && text.contains("parr chat --adapter "), "{text}");
    assert!(out.join("adapter/adapter_model.safetensors").is_file());
}

#[test]
fn each_example_fits_on_a_screen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(folder).expect("a folder of the repository");
    let programs: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    assert_eq!(programs.len(), 4);
    for path in programs {
        let lines = std::fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines <= 40, "{} has {lines} lines", path.display());
    }
}
