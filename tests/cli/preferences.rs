//! `parr preferences` on a tiny model: collects, goes on after kill -9, reports, refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{parr, rows, stderr, stdout};
use crate::judge::tiny_that_chats;
use crate::support;
use parr::settings::Settings;

struct Bench {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny_that_chats(folder.path());
        let bench = Bench { folder, model };
        let line =
            |number| format!("{{\"id\": \"p{number}\", \"prompt\": \"What is question {number}?\"}}\n");
        bench.write("prompts.jsonl", &(0..24).map(line).collect::<String>());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("a scratch directory is writable");
        self.path(name)
    }

    /// Two pairs under principles to each prompt of a file, a few prompts at a time.
    fn collect(&self, prompts: &str, out: &Path) -> Command {
        let mut command = parr();
        command.args([
            "preferences",
            "--replies",
            "contrast",
            "--pairs",
            "2",
            "--max-tokens",
            "8",
            "--batch",
            "4",
        ]);
        command
            .arg("--model")
            .arg(&self.model)
            .arg("--prompts")
            .arg(self.path(prompts))
            .arg("--out")
            .arg(out);
        command
    }
}

#[test]
fn replies_are_judged_and_reported() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let out = bench.path("judged.jsonl");
    let mut command = bench.collect("prompts.jsonl", &out);
    command.args(["--judge", "check", "--principles", "style:style-concise,style-lowercase", "--limit", "6"]);
    let run = command.output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    assert!(stderr(&run).contains("comparisons of replies to 6 prompts"), "{}", stderr(&run));
    let table = stdout(&run);
    let heading: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(heading[..5], ["principle", "verdicts", "first", "second", "undecided"]);
    assert!(table.contains("style-concise") && table.contains("style-lowercase"), "{table}");
    assert!(
        fs::read_to_string(bench.path("judged.jsonl.toml")).expect("settings").contains("max_tokens = 8")
    );

    let report = parr().args(["preferences", "report"]).arg(&out).output().expect("the program starts");
    assert_eq!(stdout(&report), table);
    let report = parr().args(["preferences", "report", "--json"]).arg(&out).output().expect("it starts");
    let report = rows(&report);
    let lines = fs::read_to_string(&out).expect("comparisons").lines().count();
    for row in &report {
        let count = |name: &str| row[name].as_u64().expect("a count") as usize;
        assert_eq!(count("verdicts"), lines, "{row}");
        assert_eq!(count("first") + count("second") + count("undecided"), lines, "{row}");
        assert!(count("as_written") + count("against") <= count("written_under"), "{row}");
    }
    assert_eq!(
        report.iter().map(|row| row["written_under"].as_u64().unwrap_or(0)).sum::<u64>(),
        lines as u64
    );
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_same_bytes() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let style = ["--principles", "style:style-concise,style-lowercase,style-hedged"];
    let (whole, killed) = (bench.path("whole.jsonl"), bench.path("killed.jsonl"));
    let begun = Instant::now();
    let run = bench.collect("prompts.jsonl", &whole).args(style).output().expect("the program starts");
    let took = begun.elapsed();
    assert!(run.status.success(), "{}", stderr(&run));
    let bytes = fs::read(&whole).expect("comparisons");
    let (mut kills, mut within) = (0, 0);
    for part in [3, 5, 6, 7, 8, 9] {
        let mut command = bench.collect("prompts.jsonl", &killed);
        let mut child =
            command.args(style).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        let until = Instant::now() + took * part / 10;
        while Instant::now() < until && child.try_wait().expect("the child is ours").is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        kills += usize::from(child.try_wait().expect("the child is ours").is_none());
        // One that has ended already cannot be killed, which is no failure.
        let _ = child.kill();
        child.wait().expect("the child is gone");
        let so_far = fs::read(&killed).unwrap_or_default();
        assert!(bytes.starts_with(&so_far), "killed after {part} tenths");
        within += usize::from(!so_far.is_empty() && so_far.len() < bytes.len());
    }
    assert!(kills > 0 && within > 0, "{kills} kills, {within} of them between the first record and the last");
    let run = bench.collect("prompts.jsonl", &killed).args(style).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    assert!(fs::read(&killed).expect("comparisons") == bytes);
}

#[test]
fn what_cannot_be_collected_is_refused_with_its_place() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let out = bench.path("judged.jsonl");
    let refused = |command: &mut Command, parts: &[&str]| {
        let output = command.output().expect("the program starts");
        let message = stderr(&output);
        assert!(!output.status.success(), "it ran: {message}");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!out.exists(), "it left something behind: {message}");
    };
    let sound = "{\"id\": \"a\", \"prompt\": \"Name a river.\"}\n";
    bench.write("broken.jsonl", &format!("{sound}\n{{\"id\": \"b\", \"prompt\": \n"));
    refused(&mut bench.collect("broken.jsonl", &out), &["broken.jsonl line 3: ", "(column "]);
    bench.write("twice.jsonl", &sound.repeat(2));
    refused(
        &mut bench.collect("twice.jsonl", &out),
        &["twice.jsonl line 2: the id `a` is already used on line 1"],
    );
    bench.write("empty.jsonl", &format!("{sound}{{\"id\": \"b\", \"prompt\": \" \"}}\n"));
    refused(&mut bench.collect("empty.jsonl", &out), &["empty.jsonl line 2: `prompt` is empty"]);
    bench.write("long.jsonl", &format!("{sound}{{\"id\": \"b\", \"prompt\": \"{}\"}}\n", "so ".repeat(600)));
    refused(&mut bench.collect("long.jsonl", &out), &["long.jsonl line 2: prompt `b`", "has 512"]);
    let prompts = "prompts.jsonl";
    let with = |args: &[&str], parts: &[&str]| {
        let mut command = bench.collect(prompts, &out);
        refused(command.args(args), parts);
    };
    with(&["--principles", "style:style-concize"], &["style-concize", "style-concise"]);
    with(&["--principles", "no-such-set"], &["no-such-set"]);
    with(&["--principles", "reward", "reward"], &["is in reward and in reward"]);
    with(&["--judge", "check"], &["no principle of reward names a program"]);
    with(&["--temperature=-1"], &["replies.temperature is -1"]);
    let settings = bench.write("mine.toml", "seed = 1\n[replies]\nplan = \"samples\"\n");
    with(&["--config", settings.to_str().expect("UTF-8")], &["mine.toml line 3 column 8", "samples"]);
    let none = parr().args(["preferences"]).output().expect("the program starts");
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
    let missing = parr().args(["preferences", "report", "none.jsonl"]).output().expect("the program starts");
    assert!(stderr(&missing).contains("none.jsonl"), "{}", stderr(&missing));
}

#[test]
fn the_printed_settings_are_the_settings() {
    let output = parr().args(["preferences", "--print-config"]).output().expect("the program starts");
    assert_eq!(stdout(&output), parr::judge::PreferenceConfig::SAMPLE);
}
