//! `parr salmon run`, killed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use parr::gpu::DeviceOptions;
use parr::random::{Philox, Purpose};
use parr::salmon::Manifest;

use super::{folder, minimal, tiny};
use crate::support;
use crate::support::kill::kill_after;

fn command(arguments: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parr"));
    command.args(arguments).arg(path);
    command
}

fn program(path: &Path) -> Command {
    command(&["salmon", "run"], path)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Kills of one run, twenty for `make proofs`.
fn kills() -> u32 {
    std::env::var("PARR_PROOF_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[test]
fn a_run_that_was_killed_ends_as_one_that_was_not() {
    let _turn = support::gpu::turn();
    drop(support::gpu::open(&DeviceOptions::default()));
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let config = minimal(&tiny(scratch.path()));
    let (whole, killed) = (scratch.path().join("whole"), scratch.path().join("killed"));
    folder(&whole, &config);
    folder(&killed, &config);
    let start = Instant::now();
    let output = program(&whole).output().expect("the program starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let seconds = start.elapsed().as_secs_f64();
    let told = stderr(&output);
    assert!(
        told.contains("stage 1 of 4, preferences: pending; starts in") && told.contains("parr chat"),
        "{told}"
    );
    let page = whole.join("report.html");
    assert!(told.contains(&format!("on one page: {}", page.display())) && page.is_file(), "{told}");
    let replies = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(replies.contains("\n  before: ") && replies.contains("\n  after: "), "{replies}");

    let status = command(&["salmon", "status"], &whole).output().expect("the program starts");
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    for stage in config.stages() {
        let line = told.lines().find(|line| line.starts_with(stage.name())).unwrap_or_default();
        assert!(line.contains("done") && line.contains(&format!("{stage}-")), "{told}");
    }

    let random = Philox::new(5);
    let (mut done, mut ended) = (0, 0);
    while done < kills() {
        let mut child =
            program(&killed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        let moment = seconds * f64::from(random.uniform(Purpose::Conformance, done, ended, 0));
        match kill_after(&mut child, moment) {
            Some(status) => {
                assert!(status.success(), "a resumed run failed");
                same(&whole, &killed, done);
                fs::remove_dir_all(&killed).expect("a scratch directory");
                folder(&killed, &config);
                ended += 1;
            }
            None => done += 1,
        }
    }
    let output = program(&killed).output().expect("the program starts");
    assert!(output.status.success(), "{}", stderr(&output));
    same(&whole, &killed, done);
    println!("{done} kills within {seconds:.1} s each, {ended} runs to the end between them");
}

/// The manifest has the hash of every output, the reward model among them.
fn same(whole: &Path, killed: &Path, kills: u32) {
    let [whole, killed] = [whole, killed].map(|path| fs::read_to_string(path.join(Manifest::FILE)));
    let (whole, killed) = (whole.expect("written"), killed.expect("written"));
    assert!(whole.contains("adapter_model.safetensors") && whole.contains("comparisons.jsonl"), "{whole}");
    assert_eq!(whole, killed, "after {kills} kills");
}
