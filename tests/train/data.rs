//! Rows of training data.

use std::path::PathBuf;
use std::sync::Arc;

use parr::file::FileError;
use parr::model::text::Text;
use parr::settings::Share;
use parr::tokenizer::{ChatFormat, ChatTemplate, Message, Specials, TokenId, Tokenizer};
use parr::train::config::{DataOptions, TrainOn};
use parr::train::{Dataset, Example, TrainError};
use proptest::prelude::*;
use serde_json::json;

use crate::text::{byte_level, sentence_piece, template};

/// The vocabulary of the small byte-level tokenizer.
pub(super) const VOCAB: usize = 952;

fn text_of(tokenizer: Tokenizer, template: ChatTemplate) -> Text {
    let tokenizer = Arc::new(tokenizer);
    let chat = ChatFormat::new(Arc::clone(&tokenizer), template, &[]);
    Text::new(Some(tokenizer), Some(chat))
}

/// 0 ends a text, 1 begins a turn, 2 ends it.
pub(super) fn chatml() -> Text {
    text_of(byte_level().with_eos(Some(0)), template("chatml.jinja"))
}

fn source(source: &str) -> Text {
    text_of(
        byte_level().with_eos(Some(0)),
        ChatTemplate::compile(source, "", "<|endoftext|>").expect("valid"),
    )
}

fn read_with(text: &Text, options: &DataOptions, rows: &[u8]) -> Result<Dataset, TrainError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, rows).expect("written");
    Dataset::read(&path, text, VOCAB, options)
}

pub(super) fn read(text: &Text, rows: &str) -> Result<Dataset, TrainError> {
    read_with(text, &DataOptions::default(), rows.as_bytes())
}

fn train_on(train_on: TrainOn) -> DataOptions {
    DataOptions { train_on, ..DataOptions::default() }
}

/// The reason why line `line` is refused.
fn refused(result: Result<Dataset, TrainError>, expected_line: usize) -> String {
    match result.expect_err("a row is wrong") {
        TrainError::Row { line, reason, .. } => {
            assert_eq!(line, expected_line, "{reason}");
            reason
        }
        other => panic!("an error of the wrong kind: {other}"),
    }
}

fn chat(turns: &[(&str, &str)]) -> String {
    let messages: Vec<Message> = turns.iter().map(|(role, content)| Message::new(*role, *content)).collect();
    json!({ "messages": messages }).to_string()
}

/// The texts that are learned from, one for each run of targets.
fn learned(text: &Text, example: &Example) -> Vec<String> {
    assert_eq!(example.ids.len(), example.loss_mask.len());
    assert!(!example.loss_mask[0] && example.targets() > 0);
    let tokenizer = text.tokenizer().expect("one");
    let mut runs: Vec<Vec<TokenId>> = vec![Vec::new()];
    for (id, target) in example.ids.iter().zip(&example.loss_mask) {
        if *target {
            runs.last_mut().expect("one").push(*id);
        } else {
            runs.push(Vec::new());
        }
    }
    runs.into_iter().filter(|run| !run.is_empty()).map(|run| tokenizer.decode(&run, false)).collect()
}

fn learned_from(text: &Text, options: &DataOptions, row: &str) -> Vec<String> {
    let dataset = read_with(text, options, row.as_bytes()).expect("a sound row");
    learned(text, &dataset.examples[0])
}

pub(super) const TALK: [(&str, &str); 5] = [
    ("system", "Be brief."),
    ("user", "One?"),
    ("assistant", "One.\n\nYes"),
    ("user", "Two?"),
    ("assistant", "Two <|im_end|> more"),
];

#[test]
fn what_the_assistant_says_is_learned_with_the_end_of_its_turn() {
    let text = chatml();
    let dataset = read(&text, &chat(&TALK)).expect("a sound row");
    let example = &dataset.examples[0];
    assert_eq!(learned(&text, example), ["One.\n\nYes<|im_end|>", "Two <|im_end|> more<|im_end|>"]);
    // The end inside the message is text; the line break behind a turn is never generated.
    assert_eq!(
        example.ids.iter().zip(&example.loss_mask).filter(|(id, target)| **id == 2 && **target).count(),
        2
    );
    let messages: Vec<Message> = TALK.iter().map(|(role, content)| Message::new(*role, *content)).collect();
    let chat_format = text.chat().expect("one");
    assert_eq!(example.ids, chat_format.encode_chat(&messages, false).expect("encodes"));
    assert_eq!(dataset.report.unclosed_turns, 0);

    let options = train_on(TrainOn::LastAssistant);
    assert_eq!(learned_from(&text, &options, &chat(&TALK)), ["Two <|im_end|> more<|im_end|>"]);
    // A question behind the last answer is read, and not learned.
    assert_eq!(learned_from(&text, &options, &chat(&TALK[..4])), ["One.\n\nYes<|im_end|>"]);
    let whole = learned_from(&text, &train_on(TrainOn::All), &chat(&TALK)).concat();
    assert!(whole.starts_with("system\nBe brief.<|im_end|>\n<|im_start|>user"), "{whole}");
}

#[test]
fn the_templates_of_known_models_are_understood() {
    let two = chat(&TALK[1..]);
    let expected = ["One.\n\nYes", "Two <|im_end|> more"];
    for (name, end) in
        [("llama3.jinja", "<|eot_id|>"), ("qwen.jinja", "<|im_end|>"), ("mistral.jinja", "</s>")]
    {
        let text = text_of(byte_level().with_eos(Some(0)), template(name));
        let dataset = read(&text, &two).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = learned(&text, &dataset.examples[0]);
        assert_eq!(found.len(), 2, "{name}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            // Special tokens that this vocabulary lacks are plain text, in which no turn is closed.
            let known = name == "qwen.jinja";
            assert_eq!(dataset.report.unclosed_turns, if known { 0 } else { 2 });
            let found = found.strip_suffix(end).unwrap_or(found).trim_start();
            let found = found.strip_prefix("<think>\n\n</think>\n\n").unwrap_or(found);
            assert_eq!(found, expected, "{name}");
        }
    }
    let text = text_of(sentence_piece(), template("zephyr.jinja"));
    let found = learned_from(&text, &DataOptions::default(), &two);
    assert_eq!(found, ["One.\n\nYes</s>", "Two <|im_end|> more</s>"]);
}

#[test]
fn a_turn_that_only_the_next_one_closes_is_closed() {
    let late = source(
        "{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}{% if not loop.last %}{{ '<|im_end|>' }}{% endif %}\
         {% endfor %}{% if add_generation_prompt %}{{ '<|im_end|>assistant: ' }}{% endif %}",
    );
    let dataset = read(&late, &chat(&TALK)).expect("a sound row");
    assert_eq!(learned(&late, &dataset.examples[0]), [" One.\n\nYes<|im_end|>", " Two <|im_end|> more"]);
    assert_eq!(dataset.report.unclosed_turns, 1, "the last turn of all");
    assert!(
        dataset.report.to_string().ends_with("; 1 turns of the assistant end without an end-of-turn token")
    );
}

#[test]
fn turns_of_plain_text_are_told_apart_by_whole_tokens() {
    let plain = source(
        "{% for m in messages %}{{ m.role ~ ':' ~ m.content ~ '\\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
    );
    let row = chat(&[("user", "a"), ("assistant", "\n  b"), ("user", "c"), ("assistant", "d")]);
    let dataset = read(&plain, &row).expect("a sound row");
    assert_eq!(learned(&plain, &dataset.examples[0]).concat().replace(char::is_whitespace, ""), "bd");
}

#[test]
fn templates_that_rewrite_what_was_said_are_refused_by_line() {
    let first = chat(&[("user", "a"), ("assistant", "b")]);
    // The generation prompt is not how the turn begins.
    let thinking = source(
        "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ m.content ~ '<|im_end|>' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|im_start|>assistant<think>' }}{% endif %}",
    );
    let reason = refused(read(&thinking, &format!("\n{first}")), 2);
    assert!(reason.starts_with("the tokens of the assistant's message 2 cannot be found"), "{reason}");
    assert!(reason.contains("train_on = \"last_assistant\" or \"all\", or give ids"), "{reason}");
    read_with(&thinking, &train_on(TrainOn::All), first.as_bytes()).expect("no turn to tell apart");

    // A turn that looks otherwise once another follows, in a vocabulary that does not close turns.
    let hiding = source(
        "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.role ~ '=' ~ m.content ~ ';' }}\
         {% else %}{{ m.role ~ '=...;' }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ 'assistant=' }}{% endif %}",
    );
    read(&hiding, &first).expect("the last turn is whole");
    let reason = refused(read(&hiding, &chat(&TALK[1..])), 1);
    assert!(reason.contains("message 2 ") && reason.contains("once more messages follow"), "{reason}");

    // The template's own refusal.
    let mistral = text_of(byte_level(), template("mistral.jinja"));
    let reason = refused(read(&mistral, &chat(&[("assistant", "a")])), 1);
    assert!(reason.contains("roles must alternate"), "{reason}");
    let reason = refused(read(&chatml(), &chat(&[("user", "a")])), 1);
    assert!(reason.contains("no message is the assistant's"), "{reason}");
}

#[test]
fn nothing_behind_the_end_of_a_turn_is_learned() {
    let twice = source(
        "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}",
    );
    let row = chat(&TALK[1..3]);
    let dataset = read(&twice, &row).expect("a sound row");
    assert_eq!(dataset.examples[0].ids.last(), Some(&0));
    assert_eq!(learned(&twice, &dataset.examples[0]), ["One.\n\nYes<|im_end|>"], "generation stops there");
}

/// A template that closes what the user says but not what the assistant says: the end of the next question
/// must not pass for the end of the answer.
#[test]
fn the_end_of_another_turn_is_not_taken_for_the_assistants() {
    let users_only = source(
        "{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}\
         {% if m.role == 'user' %}{{ '<|im_end|>' }}{% else %}{{ '\\n' }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    );
    let dataset = read(&users_only, &chat(&TALK[1..])).expect("a sound row");
    let found = learned(&users_only, &dataset.examples[0]);
    assert_eq!(
        found.iter().map(|text| text.trim()).collect::<Vec<_>>(),
        ["One.\n\nYes", "Two <|im_end|> more"]
    );
    assert_eq!(dataset.report.unclosed_turns, 2);
}

#[test]
fn prompt_and_response_are_a_chat_or_plain_text() {
    let text = chatml();
    let row = r#"{"prompt": "Say it", "response": " all<|im_end|>"}"#;
    assert_eq!(learned_from(&text, &DataOptions::default(), row), [" all<|im_end|><|im_end|>"]);

    let raw = DataOptions { raw: true, ..DataOptions::default() };
    let dataset = read_with(&text, &raw, row.as_bytes()).expect("a sound row");
    let tokenizer = text.tokenizer().expect("one");
    let mut expected = tokenizer.encode("Say it all<|im_end|>", Specials::AsText).expect("encodes");
    expected.push(0);
    assert_eq!(dataset.examples[0].ids, expected);
    assert_eq!(learned(&text, &dataset.examples[0]), [" all<|im_end|><|endoftext|>"]);
    let all = DataOptions { raw: true, ..train_on(TrainOn::All) };
    let dataset = read_with(&text, &all, row.as_bytes()).expect("a sound row");
    assert_eq!(dataset.examples[0].targets(), expected.len() - 1);

    // A prompt may be empty where a token begins the text.
    let pieces = text_of(sentence_piece(), template("zephyr.jinja"));
    let row = r#"{"prompt": "", "completion": "you"}"#;
    let dataset = read_with(&pieces, &raw, row.as_bytes()).expect("a sound row");
    assert_eq!(dataset.examples[0].ids[0], pieces.tokenizer().expect("one").bos().expect("one"));
    assert_eq!(learned(&pieces, &dataset.examples[0]), ["you</s>"]);

    let bare = Text::new(Some(Arc::new(byte_level().with_eos(None))), None);
    let reason = refused(read_with(&bare, &raw, row.as_bytes()), 1);
    assert!(reason.contains("no end-of-text token"), "{reason}");
    let reason = refused(read(&bare, row), 1);
    assert!(reason.contains("no chat template"), "{reason}");
    let reason = refused(read_with(&Text::default(), &raw, row.as_bytes()), 1);
    assert!(reason.contains("no tokenizer"), "{reason}");
}

#[test]
fn ids_are_taken_as_they_are() {
    let rows =
        "{\"ids\":[5,6,951],\"loss_mask\":[1,0,1]}\n\n \t\r\n{\"ids\":[7,8],\"loss_mask\":[false,true]}\r\n";
    let dataset = read(&Text::default(), rows).expect("needs no tokenizer");
    let expected = [
        Example { ids: vec![5, 6, 951], loss_mask: vec![false, false, true], line: 1 },
        Example { ids: vec![7, 8], loss_mask: vec![false, true], line: 4 },
    ];
    assert_eq!(dataset.examples, expected);
    let report = &dataset.report;
    assert_eq!((report.rows, report.tokens, report.targets, report.longest), (2, 5, 2, 3));
    assert_eq!(report.to_string(), "2 rows, 5 tokens, 2 of them targets");
    // sha256sum of the bytes above.
    assert_eq!(dataset.sha256, SHA256_OF_ROWS);

    let cases = [
        ("{\"ids\":[1,952],\"loss_mask\":[0,1]}", "ids[1] is 952, outside the model's vocabulary of 952"),
        ("{\"ids\":[1,2],\"loss_mask\":[1,0]}", "marks no token after the first"),
        ("{\"ids\":[1],\"loss_mask\":[1]}", "marks no token after the first"),
        ("{\"ids\":[],\"loss_mask\":[]}", "marks no token after the first"),
        ("{\"ids\":[1,2,3],\"loss_mask\":[0,1]}", "ids has 3 entries, loss_mask 2"),
    ];
    for (row, expected) in cases {
        let reason = refused(read(&Text::default(), &format!("{}\n{row}", rows.trim())), 5);
        assert!(reason.contains(expected), "{row}: {reason}");
    }
}

const SHA256_OF_ROWS: &str = "743f1e74a309ec958485ef24450db7b275748fe89da6a3ac41c3b758b8d69460";

#[test]
fn long_rows_are_cut_and_those_without_a_target_left_are_counted() {
    let text = chatml();
    let options = DataOptions { max_tokens: 24, ..DataOptions::default() };
    let long = "word ".repeat(50);
    let ones_from = |first: usize| (0..40).map(|at| u8::from(at >= first)).collect::<Vec<u8>>();
    let rows = [
        chat(&[("user", "a"), ("assistant", "b")]),
        chat(&[("user", "a"), ("assistant", &long), ("user", "b"), ("assistant", "c")]),
        chat(&[("user", &long), ("assistant", "b")]),
        json!({"ids": vec![1; 40], "loss_mask": ones_from(24)}).to_string(),
        json!({"ids": vec![1; 40], "loss_mask": ones_from(23)}).to_string(),
    ];
    let dataset = read_with(&text, &options, rows.join("\n").as_bytes()).expect("some rows are left");
    let report = &dataset.report;
    assert_eq!(dataset.examples.iter().map(|example| example.line).collect::<Vec<_>>(), [1, 2, 5]);
    assert!(dataset.examples.iter().all(|example| example.ids.len() <= 24));
    assert_eq!(report.dropped, [3, 4]);
    assert_eq!((report.rows, report.truncated, report.longest), (5, 4, 24));
    assert_eq!(dataset.examples[2].targets(), 1);
    let whole = read(&text, &rows.join("\n")).expect("sound rows").report.tokens;
    assert_eq!(
        report.cut_tokens + dataset.examples.iter().map(|example| example.ids.len()).sum::<usize>() + 2 * 24,
        whole
    );
    let said = report.to_string();
    assert!(said.contains("; 4 rows were too long and lost "), "{said}");
    assert!(
        said.ends_with("; 2 of these had no target left and were dropped, the first in line 3"),
        "{said}"
    );

    let error = read_with(&text, &options, rows[2..4].join("\n").as_bytes()).expect_err("nothing is left");
    assert!(
        error.to_string().contains("none of its 2 rows has a target among its first 24 tokens"),
        "{error}"
    );
}

#[test]
fn files_without_rows_or_that_are_no_text_are_refused() {
    for empty in ["", "\n\n", "\u{feff}\n"] {
        let error = read(&chatml(), empty).expect_err("no rows");
        assert!(matches!(error, TrainError::Data { .. }) && error.to_string().ends_with("it has no rows"));
    }
    let row = chat(&[("user", "a"), ("assistant", "b")]);
    assert_eq!(read(&chatml(), &format!("\u{feff}{row}")).expect("a byte order mark").examples.len(), 1);

    let binary = [row.as_bytes(), b"\n{\"prompt\": \"\xFF\"}"].concat();
    let reason = refused(read_with(&chatml(), &DataOptions::default(), &binary), 2);
    assert_eq!(reason, "byte 13 is not UTF-8; save the file as UTF-8");
    let huge = [row.as_bytes(), b"\n", &vec![b'['; (16 << 20) + 1]].concat();
    let reason = refused(read_with(&chatml(), &DataOptions::default(), &huge), 2);
    assert!(reason.starts_with("the line is longer than 16 MiB"), "{reason}");
    let huge = format!("{{\"{}\":1}}", "k".repeat(1 << 20));
    let error = read(&chatml(), &huge).expect_err("an unknown key").to_string();
    assert!(error.len() < 1000 && error.contains("unknown field `kkk"), "{error}");

    let missing = Dataset::read(&PathBuf::from("no/such.jsonl"), &chatml(), VOCAB, &DataOptions::default());
    let error = missing.expect_err("no such file");
    assert!(matches!(error, TrainError::Io(FileError { action: "read", .. })), "{error:?}");
    let folder = Dataset::read(&std::env::temp_dir(), &chatml(), VOCAB, &DataOptions::default());
    assert!(matches!(folder.expect_err("a folder"), TrainError::Io(_)));
}

#[test]
fn rows_are_held_out_by_seed_and_in_order() {
    let rows: Vec<String> =
        (0..40).map(|row| json!({"ids": [row, row], "loss_mask": [0, 1]}).to_string()).collect();
    let dataset = read(&Text::default(), &rows.join("\n")).expect("sound rows");
    let lines = |examples: &[Example]| examples.iter().map(|example| example.line).collect::<Vec<_>>();
    let split = |share: Share, seed: u64| {
        let mut kept = dataset.clone();
        let held = kept.split(share, seed)?;
        let (kept, held) = (lines(&kept.examples), lines(&held));
        assert!(kept.is_sorted() && held.is_sorted());
        let mut all = [kept.clone(), held.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=40));
        Ok::<_, TrainError>(held)
    };
    let held = split(Share::Count(10), 1).expect("rows are left");
    assert_eq!(held.len(), 10);
    assert_ne!(held, (1..=10).collect::<Vec<_>>());
    assert_eq!(split(Share::Fraction(0.25), 1).expect("rows are left"), held, "10 of 40");
    assert_ne!(split(Share::Count(10), 2).expect("rows are left"), held);
    // More of them are the same and some besides.
    let more = split(Share::Count(11), 1).expect("rows are left");
    assert!(held.iter().all(|line| more.contains(line)));
    assert_eq!(split(Share::Fraction(0.001), 1).expect("rows are left").len(), 1);
    assert!(split(Share::Fraction(0.0), 1).expect("rows are left").is_empty());
    assert!(split(Share::Count(0), 1).expect("rows are left").is_empty());
    for all in [Share::Count(40), Share::Count(usize::MAX), Share::Fraction(0.99)] {
        let error = split(all, 1).expect_err("none is left").to_string();
        assert!(error.contains("of 40 rows leaves none to train on"), "{error}");
    }
}

#[test]
fn rows_of_the_real_model_cover_its_answers_to_the_letter() {
    let path = crate::support::model::smollm2();
    let checkpoint = parr::format::Checkpoint::open(&path).expect("a model");
    let text = parr::model::text::load(&checkpoint);
    let vocab = text.tokenizer().expect("one").vocab_len();
    let folder = tempfile::tempdir().expect("a folder");
    let rows = folder.path().join("rows.jsonl");
    std::fs::write(&rows, chat(&TALK[1..])).expect("written");
    let dataset = Dataset::read(&rows, &text, vocab, &DataOptions::default()).expect("sound rows");
    let expected = ["One.\n\nYes<|im_end|>", "Two <|im_end|> more<|im_end|>"];
    assert_eq!(learned(&text, &dataset.examples[0]), expected);
}

/// Lines that are almost rows.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"messages\"",
            "\"role\"",
            "\"content\"",
            "\"user\"",
            "\"assistant\"",
            "\"prompt\"",
            "\"response\"",
            "\"ids\"",
            "\"loss_mask\"",
            "1",
            "0",
            "true",
            "null",
            "-1",
            "1e9",
            "\n",
            "{\"ids\":[1,2],\"loss_mask\":[0,1]}",
            "{\"prompt\":\"a\",\"response\":\"b\"}",
            "{\"messages\":[{\"role\":\"assistant\",\"content\":\"<|im_end|>\"}]}",
        ])
        .prop_map(|part| part.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn no_file_does_harm(rows in line()) {
        let text = chatml();
        match read_with(&text, &DataOptions { max_tokens: 8, ..DataOptions::default() }, &rows) {
            Ok(dataset) => for example in &dataset.examples {
                learned(&text, example);
                prop_assert!(example.ids.iter().all(|&id| (id as usize) < VOCAB));
            },
            Err(TrainError::Row { line, .. }) => prop_assert!(line > 0),
            Err(error) => prop_assert!(matches!(error, TrainError::Data { .. }), "{error}"),
        }
    }

    /// The assistant's turns, and nothing else, whatever is said.
    #[test]
    fn answers_are_found_in_any_conversation(
        contents in prop::collection::vec("[a-zé<|> \n]{0,6}(<\\|im_end\\|>)?", 2..7),
    ) {
        let text = chatml();
        let turns: Vec<(&str, &str)> =
            ["user", "assistant"].into_iter().cycle().zip(contents.iter().map(String::as_str)).collect();
        let found = learned_from(&text, &DataOptions::default(), &chat(&turns));
        prop_assert_eq!(found.len(), turns.len() / 2);
        for (found, (_, content)) in found.iter().zip(turns.iter().skip(1).step_by(2)) {
            let expected = format!("{content}<|im_end|>");
            // White space at its start may be one token with the line break before it.
            let joined = content.starts_with(char::is_whitespace) && *found == format!("\n{expected}");
            prop_assert!(joined || *found == expected, "{found:?}, expected {expected:?}");
        }
    }
}
