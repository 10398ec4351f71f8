//! `parr sft` on a tiny model: runs, resumes after kill -9, refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use parr::random::{Philox, Purpose};
use parr::settings::Settings;
use serde_json::{Value, json};

use super::{feed, parr, rows, stderr, tiny};
use crate::support;
use crate::support::kill::kill_after;

/// Rows of ids that follow a rule, so that there is something to learn.
fn data(folder: &Path) -> PathBuf {
    let row = |number: usize| {
        let ids: Vec<usize> = (0..6 + number % 9).map(|at| (at * 7 + number % 5 * 3 + 1) % 60).collect();
        let mask: Vec<u8> = (0..ids.len()).map(|at| u8::from(at > 2)).collect();
        json!({ "ids": ids, "loss_mask": mask }).to_string() + "\n"
    };
    let path = folder.join("rows.jsonl");
    fs::write(&path, (0..40).map(row).collect::<String>()).expect("a scratch directory is writable");
    path
}

/// `parr sft` on the tiny model into `out`, saving every second of 16 steps.
fn sft(data: &Path, out: &Path) -> Command {
    let mut command = parr();
    command.args(["sft", "--model", &tiny(), "--steps", "16", "--batch", "4", "--rank", "4", "--lr", "2e-3"]);
    command.args(["--save-every", "2", "--evaluate-every", "4", "--held-out", "6", "--seed", "5"]);
    command.arg("--data").arg(data).arg("--out").arg(out);
    command
}

/// What a run leaves that does not depend on the clock: the adapter, the newest state, the metrics.
fn remains(out: &Path) -> (Vec<u8>, Vec<u8>, Vec<Value>) {
    let read = |name: &str| fs::read(out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let metrics = String::from_utf8(read("metrics.jsonl")).expect("UTF-8");
    let records = metrics.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).expect("a record a line");
        let fields = record.as_object_mut().expect("an object");
        fields.retain(|name, _| !name.contains("second") && !name.contains("runtime"));
        record
    });
    let records = records.collect();
    (read("adapter/adapter_model.safetensors"), read("checkpoints/step-00000016.safetensors"), records)
}

#[test]
fn a_run_learns_and_its_adapter_answers() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (data, out) = (data(folder.path()), folder.path().join("run"));
    let run = sft(&data, &out).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    let (.., metrics) = remains(&out);
    let losses: Vec<f64> = metrics.iter().filter_map(|record| record["eval/loss"].as_f64()).collect();
    assert_eq!(losses.len(), 5, "before the first step and after each fourth: {losses:?}");
    assert!(losses[4] < 0.8 * losses[0], "held-out loss {losses:?}");
    let distances = metrics.iter().filter_map(|record| record["train/logprob_distance"].as_f64());
    assert!(distances.clone().count() == 4 && distances.clone().all(|apart| apart <= 1e-3));
    let events = fs::read_dir(&out).expect("the run's folder").flatten();
    let events =
        events.filter(|entry| entry.file_name().to_string_lossy().starts_with("events.out.tfevents"));
    assert_eq!(events.count(), 1);

    // The folder of a run is an adapter to every command that takes one.
    let ids = "{\"ids\": [1, 8, 15, 22, 29, 36]}\n";
    let score = |with: &[&str]| {
        let output = feed(parr().args(["logprobs", "-", "--model", &tiny(), "--kv", "f32"]).args(with), ids);
        rows(&output)[0]["sum"].as_f64().expect("a sum")
    };
    let (base, taught) = (score(&[]), score(&["--adapter", out.to_str().expect("UTF-8")]));
    assert!(taught > base + 1.0, "log-probability {base} before, {taught} after");

    let again = sft(&data, &out).output().expect("the program starts");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("at step 16") && stderr(&again).contains("resume"), "{}", stderr(&again));
    let other = sft(&data, &out).args(["--resume", "--alpha", "3"]).output().expect("the program starts");
    assert!(stderr(&other).contains("with different settings"), "{}", stderr(&other));
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_same_bits() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (data, whole) = (data(folder.path()), folder.path().join("whole"));
    let start = Instant::now();
    let run = sft(&data, &whole).output().expect("the program starts");
    let seconds = start.elapsed().as_secs_f64();
    assert!(run.status.success(), "{}", stderr(&run));

    let out = folder.path().join("killed");
    let random = Philox::new(16);
    let (mut kills, mut ended) = (0, 0);
    // Every run gets a moment of its own; one that ends before it is followed by a fresh one.
    while kills < 20 {
        let mut child =
            sft(&data, &out).arg("--resume").stderr(Stdio::null()).spawn().expect("the program starts");
        let moment = seconds * f64::from(random.uniform(Purpose::Conformance, kills, ended, 0));
        match kill_after(&mut child, moment) {
            Some(status) => {
                assert!(status.success(), "a resumed run failed");
                assert!(remains(&out) == remains(&whole), "after {kills} kills");
                fs::remove_dir_all(&out).expect("a scratch directory");
                ended += 1;
            }
            None => kills += 1,
        }
    }
    let last = sft(&data, &out).arg("--resume").output().expect("the program starts");
    assert!(last.status.success(), "{}", stderr(&last));
    assert!(remains(&out) == remains(&whole), "after 20 kills");
    println!("20 kills within {seconds:.1} s each, {ended} runs to the end between them");
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_its_place() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (data, out) = (data(folder.path()), folder.path().join("run"));
    let refused = |command: &mut Command, parts: &[&str]| {
        let output = command.output().expect("the program starts");
        let message = stderr(&output);
        assert!(!output.status.success(), "it ran: {message}");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!out.exists(), "it left something behind: {message}");
    };
    let broken = folder.path().join("broken.jsonl");
    fs::write(
        &broken,
        "{\"ids\": [1, 2, 3], \"loss_mask\": [0, 1, 1]}\n{\"ids\": [1, 2, 3], \"loss_mask\": [0, 1]}\n",
    )
    .expect("a scratch directory is writable");
    refused(&mut sft(&broken, &out), &["broken.jsonl line 2"]);
    refused(sft(&data, &out).args(["--memory", "1"]), &["needs", "1048576", "weights of the base"]);
    refused(&mut sft(&folder.path().join("none.jsonl"), &out), &["none.jsonl"]);
    let text = folder.path().join("text.jsonl");
    fs::write(&text, "{\"prompt\": \"Hi\", \"response\": \"Ho\"}\n")
        .expect("a scratch directory is writable");
    refused(&mut sft(&text, &out), &["text.jsonl line 1", "no chat template"]);
    let settings = folder.path().join("sft.toml");
    fs::write(&settings, "seed = 1\n[lora]\nrang = 4\n").expect("a scratch directory is writable");
    refused(sft(&data, &out).arg("--config").arg(&settings), &["sft.toml line 3 column 1", "rang"]);
    fs::write(&settings, "[optimizer]\neps = -1.0\n[batch]\nsequences = 0\n").expect("a scratch directory");
    let mut command = parr();
    command.args(["sft", "--model", &tiny(), "--config"]).arg(&settings).arg("--data").arg(&data);
    refused(command.arg("--out").arg(&out), &["optimizer.eps", "batch.sequences"]);
}

#[test]
fn the_printed_settings_are_the_settings() {
    let output = parr().args(["sft", "--print-config"]).output().expect("the program starts");
    assert_eq!(super::stdout(&output), parr::train::SftConfig::SAMPLE);
}
