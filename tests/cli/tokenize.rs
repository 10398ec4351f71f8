//! `parr tokenize`: ids, counts, and the way back.

use super::{feed, parr, rows, stdout};
use crate::support;

#[test]
fn text_becomes_ids_and_ids_become_text() {
    let model = support::model::smollm2();
    let text = "Grüße, 2026!\n";
    let encoded = feed(parr().args(["tokenize", "--json", "--model"]).arg(&model), text);
    let encoded = rows(&encoded).swap_remove(0);
    let ids = encoded["ids"].to_string();
    let decoded = parr().args(["tokenize", "--decode", &ids, "--model"]).arg(&model).output();
    assert_eq!(stdout(&decoded.expect("the program starts")), format!("{text}\n"));

    let count = feed(parr().args(["tokenize", "--count", "--model"]).arg(&model), text);
    let n = encoded["ids"].as_array().expect("an array").len();
    assert_eq!(stdout(&count).trim(), n.to_string());
}

#[test]
fn special_tokens_are_text_unless_asked_for() {
    let model = support::model::smollm2();
    let count = |flags: &[&str]| {
        let run =
            parr().args(["tokenize", "--count", "<|im_start|>", "--model"]).arg(&model).args(flags).output();
        stdout(&run.expect("the program starts")).trim().parse::<usize>().expect("a number")
    };
    assert_eq!(count(&["--specials"]), 1);
    assert!(count(&[]) > 1);
}
