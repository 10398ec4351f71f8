//! `parr tune`, and the measurements of the first load.

use std::path::Path;
use std::process::Command;

use super::{feed, needs_gpu, parr, rows, stderr, stdout, tiny};

/// The program with a cache of its own, in which nothing was measured.
fn fresh(cache: &Path) -> Command {
    let mut command = parr();
    command.env("PARR_CACHE", cache).env_remove("PARR_NO_TUNE");
    command
}

#[test]
fn the_first_load_measures_once_and_changes_no_result() {
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let row = r#"{"ids": [1, 5, 9, 2, 7, 3]}"#;
    let logprobs = |arguments: &[&str]| {
        let mut command = fresh(folder.path());
        command.args(["logprobs", "-", "--model", &tiny()]).args(arguments);
        let run = feed(&mut command, row);
        assert!(run.status.success(), "{}", stderr(&run));
        (stdout(&run), stderr(&run).contains("measuring kernels"))
    };
    let (by_rule, measured) = logprobs(&["--no-tune"]);
    assert!(!measured && !folder.path().join("tuning.json").exists());
    let (first, measured) = logprobs(&[]);
    assert!(measured && folder.path().join("tuning.json").exists());
    let (second, measured) = logprobs(&[]);
    assert!(!measured, "the second load measured again");
    assert_eq!((&first, &second), (&by_rule, &by_rule));
}

#[test]
fn the_fastest_tiles_are_right_and_no_slower_than_the_usual_ones() {
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let run = fresh(folder.path()).args(["tune", &tiny(), "--json"]).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    let report = rows(&run).swap_remove(0);
    assert_eq!(
        (report["complete"].as_bool(), report["wrong"].as_array().map(Vec::len)),
        (Some(true), Some(0))
    );
    let choices = report["choices"].as_array().expect("an array");
    assert!(choices.len() >= 6, "one for each number of rows: {choices:?}");
    for choice in choices {
        let micros = |which: &str| choice[which]["micros"].as_f64().expect("a number");
        assert!(micros("fastest") > 0.0 && micros("fastest") <= micros("usual"), "{choice}");
    }
    let text = std::fs::read_to_string(folder.path().join("tuning.json")).expect("it was written");
    assert!(text.contains("\"micros\""), "{text}");
    let run = fresh(folder.path()).args(["tune", "--reset"]).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    let text = std::fs::read_to_string(folder.path().join("tuning.json")).expect("it is there");
    assert_eq!(text.trim(), "{}");
}

#[test]
fn what_a_flag_chooses_is_not_measured() {
    let run = parr().args(["tune", &tiny(), "--kernels", "tiled"]).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("leave them out"), "{}", stderr(&run));
}
