//! `parr reward` and `parr score` on a tiny model: from judged replies to scores and a report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{feed, parr, rows, stderr, stdout};
use crate::reward::{comparisons, tiny_that_reads};
use crate::support;
use parr::settings::Settings;

/// A model, judged replies and the principles that they were judged under.
struct Bench {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny_that_reads(folder.path());
        let line = |one| serde_json::to_string(&one).expect("plain values") + "\n";
        let lines: String = comparisons(40).into_iter().map(line).collect();
        let rules = crate::reward::rules();
        let principles = rules.principles.iter().map(|one| {
            let (id, definition) = (&one.id, &one.definition);
            let negative = one.negative.as_deref().unwrap_or_default();
            format!(
                "[[principle]]\nid = \"{id}\"\ndimension = \"{id}\"\ndefinition = \"{definition}\"\n\
                 negative = \"{negative}\"\nweight = 1\n"
            )
        });
        let head = "id = \"rules\"\ntitle = \"Rules\"\ndescription = \"For a test.\"\nuse = \"judge\"\n";
        let bench = Bench { folder, model };
        bench.write("judged.jsonl", &lines);
        bench.write("rules.toml", &(head.to_owned() + &principles.collect::<String>()));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("a scratch directory is writable");
        self.path(name)
    }

    /// A command on the model, with the principles behind it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = parr();
        command.args(words).arg("--model").arg(&self.model);
        command
    }

    fn train(&self, out: &Path) -> Command {
        self.train_within("320", out)
    }

    fn train_within(&self, tokens: &str, out: &Path) -> Command {
        let mut command = self.command(&["reward", "train", "--steps", "6", "--batch", "4", "--rank", "4"]);
        command.args(["--max-tokens", tokens, "--held-out", "0.25", "--lr", "2e-3", "--save-every", "1"]);
        command.arg("--comparisons").arg(self.path("judged.jsonl"));
        command.arg("--principles").arg(self.path("rules.toml")).arg("--out").arg(out);
        command
    }
}

#[test]
fn judged_replies_become_scores_and_a_report() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let out = bench.path("run");
    let run = bench.train(&out).arg("--f16").output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    assert!(stderr(&run).contains("% right"), "{}", stderr(&run));
    for file in ["reward.toml", "metrics.jsonl", "adapter/reward_head.safetensors", "adapter/parr.json"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let card = fs::read(out.join("adapter/parr.json")).expect("a card");
    let card: Value = serde_json::from_slice(&card).expect("JSON");
    assert_eq!(card["reward"]["principles"], serde_json::json!(["agrees", "loud"]));
    assert_eq!((&card["steps"], &card["reward"]["limits"]["tokens"]), (&6.into(), &320.into()));
    for figure in ["eval_accuracy", "eval_margin", "eval_loss", "train_loss"] {
        assert!(card["metrics"][figure].is_number(), "{figure} in {card}");
    }
    assert!(card["metrics"]["held_out"]["by_principle"].is_object(), "{card}");
    for hash in ["base_sha256", "data_sha256"] {
        assert_eq!(card[hash].as_str().map(str::len), Some(64), "{hash}");
    }

    let eval = |page: &str| {
        let mut eval = bench.command(&["reward", "eval", "--json", "--limit", "6"]);
        eval.arg("--reward").arg(&out).arg("--comparisons").arg(bench.path("judged.jsonl"));
        eval.arg("--principles").arg(bench.path("rules.toml")).arg("--html").arg(bench.path(page));
        eval.output().expect("it starts")
    };
    let report = rows(&eval("report.html"));
    assert_eq!(report[0]["lists"]["all"]["pairs"], 6);
    assert_eq!(report[0]["alone"].as_array().map(Vec::len), Some(2));
    let page = fs::read_to_string(bench.path("report.html")).expect("a page");
    // A page that cannot be written costs nothing but itself. No room is left for the end of a temporary name.
    let again = eval(&"h".repeat(250));
    let printed: Value = serde_json::from_str(&stdout(&again)).expect("the report");
    assert!(!again.status.success() && printed["lists"] == report[0]["lists"], "{}", stderr(&again));
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"));

    let replies = "{\"prompt\": \"Is it?\", \"response\": \"yes!\"}\n\n{\"prompt\": \"Is it?\", \"response\": \"no.\"}\n";
    let score = |principles: &[&str]| {
        let mut command = bench.command(&["score", "-", "--batch", "3"]);
        command.arg("--reward").arg(&out);
        if !principles.is_empty() {
            command.arg("--principles").args(principles);
        }
        rows(&feed(&mut command, replies))
    };
    let rules = bench.path("rules.toml").display().to_string();
    let picked = format!("{rules}:loud,!agrees");
    let scored = score(&[&rules, &picked, "style:style-concise"]);
    assert_eq!(scored.len(), 2);
    let names: Vec<&String> = scored[0]["scores"].as_object().expect("scores").keys().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        scored[0]["scores"]["rules"].is_number() && scored[0]["scores"]["style:style-concise"].is_number()
    );
    assert_ne!(scored[0]["scores"]["rules"], scored[0]["scores"][&picked]);
    assert!(score(&[])[1]["score"].is_number());
    let drawn = &score(&["policy"])[1];
    assert_eq!(drawn["principles"]["policy"].as_array().map(Vec::len), Some(3), "{drawn}");
    assert_eq!(drawn, &score(&["policy"])[1], "the same seed draws the same");

    let again = bench.train(&out).output().expect("the program starts");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("at step 6") && stderr(&again).contains("resume"), "{}", stderr(&again));
}

#[test]
fn a_killed_run_ends_with_the_same_bits() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let (whole, killed) = (bench.path("whole"), bench.path("killed"));
    let run = bench.train(&whole).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    let mut child = bench.train(&killed).stderr(Stdio::null()).spawn().expect("the program starts");
    let states = || fs::read_dir(killed.join("checkpoints")).map_or(0, |states| states.flatten().count());
    while states() == 0 && child.try_wait().expect("the child is ours").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("SIGKILL reaches the child");
    child.wait().expect("the child is gone");
    let run = bench.train(&killed).arg("--resume").output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    for file in ["adapter_model.safetensors", "reward_head.safetensors", "parr.json"] {
        let read = |out: &Path| fs::read(out.join("adapter").join(file)).expect("a reward model");
        assert!(read(&killed) == read(&whole), "{file} differs");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let out = bench.path("run");
    let refused = |command: &mut Command, parts: &[&str]| {
        let output = command.output().expect("the program starts");
        let message = stderr(&output);
        assert!(!output.status.success(), "it ran: {message}");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(stdout(&output), "", "nothing is said of what failed");
    };
    let replies = bench.write(
        "replies.jsonl",
        "{\"prompt\": \"a\", \"response\": \"b\"}\n\n{\"prompt\": \"a\", \"response\": \" \"}\n",
    );
    let reward = |file: &Path, principles: &str| {
        let mut command = bench.command(&["score"]);
        command.arg(file).arg("--reward").arg(&out).args(["--principles", principles]);
        command
    };
    refused(&mut reward(&replies, "reward"), &["replies.jsonl line 3: `response` is empty"]);
    let broken = bench.write("broken.jsonl", "{\"prompt\": \"a\", \"response\": \"b\"}\n{\"prompt\": \n");
    refused(&mut reward(&broken, "reward"), &["broken.jsonl line 2: ", "(column "]);
    refused(&mut reward(&broken, "style:style-concise,style-concize"), &["style-concize", "style-concise"]);
    refused(&mut reward(&broken, "self-align:!self-align-nothing"), &["self-align-nothing"]);
    refused(&mut reward(&broken, "no-such-set"), &["no-such-set"]);
    let sound = bench.write("sound.jsonl", "{\"prompt\": \"a\", \"response\": \"b\"}\n");
    refused(&mut reward(&sound, "reward"), &["run"]);

    // An adapter of `parr sft` is none of these.
    let mut sft = bench.command(&["sft", "--steps", "1", "--rank", "4", "--held-out", "0"]);
    let ids = bench.write("ids.jsonl", "{\"ids\": [1, 2, 3], \"loss_mask\": [0, 1, 1]}\n");
    let run = sft.arg("--data").arg(ids).arg("--out").arg(&out).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    refused(&mut reward(&sound, "reward"), &["is not a reward model", "reward_head.safetensors"]);

    let other = bench.path("other");
    refused(&mut bench.train_within("4096", &other), &["4096", "context has 512"]);
    refused(&mut bench.train_within("60", &other), &["there is room for 60"]);
    let text = fs::read_to_string(bench.path("judged.jsonl")).expect("written above");
    let mut stale: Value = serde_json::from_str(text.lines().next().expect("a row")).expect("JSON");
    stale["verdicts"][0]["wording"] = "0".into();
    bench.write("judged.jsonl", &format!("{stale}\n"));
    refused(&mut bench.train(&other), &["record `c0`", "another wording of `agrees`"]);
    bench.write("judged.jsonl", &text.replacen("\"replies\"", "\"reply\"", 1));
    refused(&mut bench.train(&other), &["judged.jsonl line 1: unknown field `reply`"]);
    let mut nothing = bench.command(&["reward", "train"]);
    refused(nothing.arg("--out").arg(&other), &["--comparisons or --preferences"]);
    assert!(!other.exists(), "it left something behind");
}

#[test]
fn the_printed_settings_are_the_settings() {
    let output = parr().args(["reward", "train", "--print-config"]).output().expect("the program starts");
    assert_eq!(stdout(&output), parr::reward::RewardConfig::SAMPLE);
}

#[test]
fn the_reward_model_of_the_program_reads_sentences() {
    let model = super::smollm2();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (replies, principles) = (folder.path().join("replies.jsonl"), folder.path().join("mine.toml"));
    let rows_of = |prompt: &str, replies: [&str; 2]| {
        replies
            .map(|reply| format!("{}\n", serde_json::json!({ "prompt": prompt, "response": reply })))
            .concat()
    };
    let rivers = "Rivers carry water from the hills to the sea.";
    let asks = format!("{rivers} Which river would you like to know more about?");
    let states = format!("{rivers} They are old.");
    let text = rows_of("Tell me about rivers.", [&asks, &states])
        + &rows_of(
            "How do I rest my eyes?",
            [
                "Look far away. If the pain stays, please see a doctor.",
                "Look far away. It is quite easy to do.",
            ],
        );
    fs::write(&replies, text).expect("written");
    let principle = |id: &str, text: &str| {
        format!("[[principle]]\nid = \"{id}\"\ndimension = \"{id}\"\ndefinition = \"{text}\"\n")
    };
    let set = format!(
        "id = \"mine\"\ntitle = \"T\"\ndescription = \"D.\"\nuse = \"always\"\n{}{}",
        principle("question", "End with a question to me."),
        principle("doctor", "Advise to see a doctor.")
    );
    fs::write(&principles, set).expect("written");
    // A cache of its own: the files are copied there at the first use, and found there at the second.
    let cache = folder.path().join("cache");
    for _ in 0..2 {
        let mut run = parr();
        run.arg("score").arg(&replies).args(["--reward", "smollm2-principles", "--principles"]);
        run.arg(&principles).args(["--model", &model]).env("PARR_CACHE", &cache);
        let scored = rows(&run.output().expect("the program starts"));
        let of = |row: usize, id: &str| scored[row]["by_principle"]["mine"][id].as_f64().expect("log-odds");
        assert!(of(0, "question") > 0.0 && of(1, "question") < 0.0, "{scored:?}");
        assert!(of(2, "doctor") > 0.0 && of(3, "doctor") < 0.0, "{scored:?}");
        let folders = fs::read_dir(cache.join("reward-models")).expect("it was copied").count();
        assert_eq!(folders, 1);
    }
}
