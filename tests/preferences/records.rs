//! Files of records: resumed at any byte, never misaligned, nothing lost.

use std::fs;
use std::path::Path;

use super::{comparison, comparisons, reward};
use parr::preferences::{Comparison, PreferencesError, Prompt, Record, RecordLog, read_records};
use parr::principles::PromptType;

fn open(path: &Path) -> (RecordLog<Comparison>, Vec<Comparison>) {
    RecordLog::open(path).expect("sound")
}

#[test]
fn a_run_that_is_stopped_at_any_byte_goes_on_to_the_same_file() {
    let set = reward();
    let all = comparisons(&set, 3);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("whole.jsonl");
    let (mut log, found) = open(&path);
    assert!(found.is_empty() && log.is_empty());
    for record in &all {
        log.append(record).expect("written");
    }
    assert_eq!((log.len(), log.contains("q1/0-1"), log.contains("q9/0-1")), (3, true, false));
    drop(log);
    let whole = fs::read(&path).expect("there");
    assert_eq!(read_records::<Comparison>(&path).expect("sound"), all);

    let ends: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] == b'\n').collect();
    let cut = folder.path().join("cut.jsonl");
    // Every place near a line's end, and many in between.
    for length in (0..whole.len()).filter(|at| at % 97 == 0 || ends.iter().any(|end| end.abs_diff(*at) < 3)) {
        fs::write(&cut, &whole[..length]).expect("written");
        let (mut log, found) = open(&cut);
        // A record that lacks only its line break is whole.
        let expected = ends.iter().filter(|&&end| end <= length).count();
        assert_eq!(found, all[..expected], "cut at {length}");
        for record in all.iter().filter(|record| !found.contains(record)) {
            assert!(!log.contains(record.id()));
            log.append(record).expect("written");
        }
        drop(log);
        assert_eq!(fs::read(&cut).expect("there"), whole, "cut at {length}");
    }
}

#[test]
fn records_are_refused_before_they_are_written() {
    let set = reward();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("records.jsonl");
    let (mut log, _) = open(&path);
    let good = comparison(&set, 1);
    log.append(&good).expect("written");
    let before = fs::read(&path).expect("there");

    let mut empty = comparison(&set, 2);
    empty.replies[1].text = " \n".to_owned();
    let mut infinite = comparison(&set, 2);
    infinite.verdicts[0].scores.s12 = f64::INFINITY;
    let mut twice = comparison(&set, 2);
    twice.verdicts.push(twice.verdicts[0].clone());
    for (record, expected) in [
        (good, format!("record `q1/0-1`: line 1 of {} already has this id", path.display())),
        (empty, "record `q2/0-1`: reply 2 is empty".to_owned()),
        (infinite, "record `q2/0-1`: a score under `reward-helpful` is not a finite number".to_owned()),
        (twice, "record `q2/0-1`: there are two verdicts under `reward-helpful`".to_owned()),
    ] {
        assert_eq!(log.append(&record).expect_err("refused").to_string(), expected);
        assert_eq!(fs::read(&path).expect("there"), before);
    }
    log.append(&comparison(&set, 2)).expect("the log still works");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn two_runs_do_not_write_to_one_file() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("records.jsonl");
    let (log, _) = open(&path);
    assert!(matches!(RecordLog::<Comparison>::open(&path), Err(PreferencesError::Busy { .. })));
    drop(log);
    open(&path);
}

#[test]
fn broken_lines_are_named_and_kept() {
    let line = |id: &str| {
        format!("{{\"id\": \"{id}\", \"type\": \"red-team\", \"language\": \"de\", \"prompt\": \"Tee?\"}}\n")
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("prompts.jsonl");
    let read = |text: &[u8]| {
        fs::write(&path, text).expect("written");
        let strict = read_records::<Prompt>(&path).map_err(|error| error.to_string());
        // The log forgives nothing but half a line at the end, and cuts nothing else.
        if let Err(error) = &strict
            && text.ends_with(b"\n")
        {
            assert_eq!(RecordLog::<Prompt>::open(&path).expect_err("broken").to_string(), *error);
            assert_eq!(fs::read(&path).expect("there"), text);
        }
        strict
    };
    let sound = format!("\u{FEFF}{}\n  \n{}", line("a"), line("b").trim_end());
    let prompts = read(sound.as_bytes()).expect("blank lines and a missing line break are no mistakes");
    assert_eq!(prompts.len(), 2);
    assert_eq!((prompts[1].kind, prompts[1].language.as_deref()), (PromptType::RedTeam, Some("de")));
    let plain = read(b"{\"id\": \"a\", \"prompt\": \"Tea?\"}").expect("the rest may be left out");
    assert_eq!((plain[0].kind, &plain[0].language), (PromptType::General, &None));

    let at = path.display();
    for (text, expected) in [
        (
            format!("{}{{\"id\": 1}}\n", line("a")),
            "line 2: invalid type: integer `1`, expected a string (column 8)",
        ),
        (format!("\n{{\"id\": \"a\"\n{}", line("b")), "line 2: EOF while parsing an object (column "),
        (format!("{}{{\"id\": \"b", line("a")), "line 2: EOF while parsing a string (column "),
        (format!("{}{}", line("a"), line("a")), "line 2: the id `a` is already used on line 1"),
        (line("a").replace("prompt", "promt"), "line 1: unknown field `promt`"),
        (line("a").replace("red-team", "red"), "line 1: unknown variant `red`"),
        (line("a").replace("Tee?", " "), "line 1: `prompt` is empty"),
        (line(" "), "line 1: `id` is empty"),
        (format!("{}[]\n", line("a")), "line 2: "),
    ] {
        let error = read(text.as_bytes()).expect_err("broken");
        assert!(error.starts_with(&format!("{at} {expected}")), "{text}: {error}");
    }
    let error = read(b"{\"id\": \"\xFF\"}\n").expect_err("no UTF-8");
    assert!(error.ends_with("line 1: byte 9 is not UTF-8; save the file as UTF-8"), "{error}");
    let none = read_records::<Prompt>(&folder.path().join("none.jsonl")).expect_err("missing");
    assert!(none.to_string().starts_with("cannot read "));
}

#[test]
fn the_prompts_that_come_with_parr_are_records() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prompts.jsonl");
    let prompts = read_records::<Prompt>(&path).expect("sound");
    let count = |kind| prompts.iter().filter(|prompt| prompt.kind == kind).count();
    assert_eq!((prompts.len(), count(PromptType::RedTeam), count(PromptType::Reasoning)), (320, 60, 60));
}
