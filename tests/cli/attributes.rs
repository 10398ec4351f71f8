//! `parr attributes`: a list for people, and counts of the replies of a comparison.

use std::fs;

use parr::steer::compare::{ComparisonReport, MethodReport, PromptReport, ReplyReport};

use super::{parr, rows, stderr, stdout};

#[test]
fn attributes_are_listed_with_their_sentences() {
    let run = parr().args(["attributes", "list"]).output().expect("the program starts");
    let text = stdout(&run);
    assert!(text.lines().count() > 200 && text.starts_with("id "), "{text}");
    // The expressions of one file take less time than those of all.
    let listed = |id: &str| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/attributes/punctuation.toml");
        let run = parr().args(["attributes", "list", id, "--json", "--attributes", file]).output();
        run.expect("the program starts")
    };
    let run = listed("emoji");
    let [emoji] = &rows(&run)[..] else { panic!("{}", stdout(&run)) };
    assert_eq!((emoji["id"].as_str(), emoji["held_out"].as_bool()), (Some("emoji"), Some(false)));
    assert!(emoji["want"].as_array().is_some_and(|all| all.len() > 3), "{emoji}");
    let run = listed("emojy");
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("no attribute `emojy`"), "{}", stderr(&run));
}

#[test]
fn replies_of_a_comparison_are_counted_by_method() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("report.json");
    let reply = |text: &str| ReplyReport { text: text.to_owned(), score: None, parts: Vec::new() };
    let prompt = |base: &str, tuned: &str| PromptReport {
        prompt: "Hello?".to_owned(),
        seed: 0,
        replies: vec![reply(base), reply(tuned)],
    };
    let method = |name: &str| MethodReport { name: name.to_owned(), ..MethodReport::default() };
    let report = ComparisonReport {
        methods: vec![method("base"), method("adapter")],
        replies: vec![prompt("Fine.", "Fine 😀"), prompt("Yes!", "Yes! 😀"), prompt("No.", "No.")],
        ..ComparisonReport::default()
    };
    fs::write(&path, serde_json::to_string(&report).expect("plain values")).expect("written");
    let files = ["punctuation", "length"]
        .map(|name| format!("{}/attributes/{name}.toml", env!("CARGO_MANIFEST_DIR")));
    let run = |ids: &[&str]| {
        let run = parr()
            .args(["attributes", "rate"])
            .args(ids)
            .arg("--attributes")
            .args(&files)
            .args(["--json", "--comparison"])
            .arg(&path)
            .output();
        run.expect("the program starts")
    };
    let counted = run(&["emoji", "exclamation"]);
    let hits: Vec<(u64, u64)> = rows(&counted)
        .iter()
        .map(|row| (row["rate"]["hits"].as_u64().unwrap_or(9), row["rate"]["of"].as_u64().unwrap_or(9)))
        .collect();
    assert_eq!(hits, [(0, 3), (2, 3), (1, 3), (1, 3)], "{}", stderr(&counted));
    // A word or a number of an attribute that needs one.
    assert_eq!(run(&["emoji=3"]).status.code(), Some(2));
    assert_eq!(run(&["words-at-most"]).status.code(), Some(2));
    assert!(run(&["words-at-most=30"]).status.success());
    fs::write(&path, "{}").expect("written");
    let none = run(&["emoji"]);
    assert!(stderr(&none).contains("is not a report of `parr steer compare --json`"), "{}", stderr(&none));
}
