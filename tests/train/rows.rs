//! Rows in memory.

use parr::tokenizer::Message;
use parr::train::config::DataOptions;
use parr::train::{Dataset, Row, Rows};

use super::data::{TALK, VOCAB, chatml, read};

/// Rows in memory, and a file of them, are the same data.
#[test]
fn rows_in_memory_are_rows_of_a_file() {
    let turn = |(role, content): &(&str, &str)| Message::new(*role, *content);
    let rows = vec![
        Row::chat(TALK[1..].iter().map(turn)),
        Row::pair("Name a \"river\".", "The Loire,\nor the Sa\u{f4}ne."),
        Row::Ids { ids: vec![5, 6, 7], loss_mask: vec![false, true, true] },
    ];
    let lines: String =
        rows.iter().map(|row| serde_json::to_string(row).expect("plain values") + "\n").collect();
    let file = read(&chatml(), &lines).expect("sound rows");
    let options = DataOptions::default();
    let memory = Dataset::from_rows(&rows, &chatml(), VOCAB, &options).expect("sound rows");
    assert_eq!((&memory.examples, &memory.report), (&file.examples, &file.report));
    assert_eq!(memory.sha256, file.sha256);
    assert_eq!(memory.examples.iter().map(|example| example.line).collect::<Vec<_>>(), [1, 2, 3]);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, lines).expect("written");
    for rows in [Rows::from(rows.clone()), Rows::of(rows), Rows::file(&path), Rows::from(&path)] {
        let read = rows.read(&chatml(), VOCAB, &options).expect("sound rows");
        assert_eq!((&read.examples, &read.sha256), (&file.examples, &file.sha256));
    }
}

#[test]
fn rows_in_memory_are_refused_by_their_number() {
    let refused = |rows: &[Row]| {
        Dataset::from_rows(rows, &chatml(), VOCAB, &DataOptions::default()).expect_err("a fault").to_string()
    };
    let sound = Row::pair("a", "b");
    let short = Row::Ids { ids: vec![1, 2], loss_mask: vec![true] };
    let outside = Row::Ids { ids: vec![1, 9999], loss_mask: vec![false, true] };
    for (row, expected) in [
        (Row::chat([]), "rows line 2: messages is empty"),
        (short, "rows line 2: ids has 2 entries, loss_mask 1"),
        (outside, "rows line 2: ids[1] is 9999, outside the model's vocabulary of 952"),
        (Row::chat([Message::new("user", "a")]), "rows line 2: no message is the assistant's"),
    ] {
        let error = refused(&[sound.clone(), row]);
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(refused(&[]), "rows: it has no rows");
}
