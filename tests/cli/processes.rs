//! The program among others: signals, outputs that nobody reads, absurd counts, bytes that are no text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{feed, needs_gpu, parr, rows, stderr, stdout, tiny};
use crate::judge::tiny_that_chats;
use crate::support;

fn data(folder: &Path) -> PathBuf {
    let path = folder.join("rows.jsonl");
    let row = |n: usize| format!("{{\"ids\": [1, {}, 3, 4], \"loss_mask\": [0, 1, 1, 1]}}\n", 5 + n);
    fs::write(&path, (0..8).map(row).collect::<String>()).expect("a scratch directory is writable");
    path
}

/// A training run of many steps.
fn sft(folder: &Path, out: &Path) -> Command {
    let mut command = parr();
    command.args(["sft", "--model", &tiny(), "--rank", "1", "--held-out", "0", "--save-every", "100000"]);
    command.arg("--data").arg(data(folder)).arg("--out").arg(out);
    command
}

fn states(out: &Path) -> usize {
    fs::read_dir(out.join("checkpoints")).map_or(0, Iterator::count)
}

#[cfg(unix)]
mod signals {
    use std::process::Child;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn send(child: &Child, signal: Signal) {
        let pid = Pid::from_raw(child.id() as i32).expect("a process has a number");
        kill_process(pid, signal).expect("the child is ours");
    }

    /// Waits until the run has done some steps.
    fn wait_for_steps(child: &mut Child, out: &Path) {
        let begun = Instant::now();
        let steps = || fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
        while steps() < 3 {
            assert!(child.try_wait().expect("the child is ours").is_none(), "it ended before its third step");
            assert!(begun.elapsed() < Duration::from_secs(300), "no step in 300 s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_run_saves_its_state_after_every_signal_that_stops_it() {
        let _turn = support::gpu::turn();
        needs_gpu();
        let folder = tempfile::tempdir().expect("a scratch directory");
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let out = folder.path().join(code.to_string());
            let mut command = sft(folder.path(), &out);
            let mut child =
                command.args(["--steps", "1000000"]).stderr(Stdio::null()).spawn().expect("it starts");
            wait_for_steps(&mut child, &out);
            send(&child, signal);
            // Some senders reach a process twice; that is no second request.
            send(&child, signal);
            let status = child.wait().expect("it ends");
            assert_eq!(status.code(), Some(code));
            assert_eq!(states(&out), 1, "after {signal:?}");
        }
    }

    #[test]
    fn a_hangup_that_is_ignored_stays_ignored() {
        let _turn = support::gpu::turn();
        needs_gpu();
        let folder = tempfile::tempdir().expect("a scratch directory");
        let out = folder.path().join("run");
        let run = sft(folder.path(), &out);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
        shell.args(["--steps", "1000000"]).stderr(Stdio::null());
        let mut child = shell.spawn().expect("it starts");
        wait_for_steps(&mut child, &out);
        send(&child, Signal::HUP);
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().expect("the child is ours").is_none(), "the run continues");
        send(&child, Signal::TERM);
        assert_eq!(child.wait().expect("it ends").code(), Some(143));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_goes_on_when_nobody_can_read_it() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    for (name, stream) in [("full", Some(Stdio::from(full()))), ("closed", None)] {
        let out = folder.path().join(name);
        let mut command = sft(folder.path(), &out);
        command.args(["--steps", "4"]).stdout(full()).stderr(stream.unwrap_or_else(Stdio::piped));
        let mut child = command.spawn().expect("it starts");
        // Closes the pipe, as `| head -1` does.
        drop(child.stderr.take());
        assert!(child.wait().expect("it ends").success(), "standard error {name}");
        assert!(out.join("adapter/adapter_config.json").exists(), "standard error {name}");
    }
    // A program that only prints results says that it cannot, and ends quietly when its reader has gone.
    let run = parr().args(["principles", "list"]).stdout(full()).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).starts_with("error: cannot write the output"), "{}", stderr(&run));
    let run = parr().args(["principles", "list"]).stderr(full()).stdout(full()).status();
    assert_eq!(run.expect("the program starts").code(), Some(1), "and no panic");
}

#[test]
fn absurd_counts_are_refused_with_their_bound() {
    let huge = ["4000000000", "18446744073709551615"];
    let folder = tempfile::tempdir().expect("a scratch directory");
    let rows = data(folder.path());
    let [rows, out] =
        [&rows, &folder.path().join("out")].map(|path| path.to_str().expect("UTF-8").to_owned());
    let training = ["--batch", "--rank", "--steps", "--memory", "--max-tokens"];
    let aligning =
        ["--batch", "--replies", "--rank", "--max-reply-tokens", "--max-prompt-tokens", "--update-epochs"];
    let asking = ["--count", "--pairs", "--max-tokens", "--batch", "--limit"];
    let commands: [(&[&str], &[&str]); 6] = [
        (&["sft", "--data", &rows], &training),
        (&["dpo", "--comparisons", &rows], &training),
        (&["reward", "train", "--comparisons", &rows], &training),
        (&["align", "--prompts", &rows, "--reward", &rows, "--principles", "small"], &aligning),
        (&["self-align", "--prompts", &rows], &["--batch", "--max-tokens", "--n-rules", "--n-exemplars"]),
        (&["preferences", "--prompts", &rows], &asking),
    ];
    for (command, flags) in commands {
        for (flag, count) in flags.iter().flat_map(|flag| huge.map(|count| (flag, count))) {
            let run = parr().args(command).args(["--out", &out, flag, count]).output();
            let run = run.expect("the program starts");
            let said = stderr(&run);
            assert!(matches!(run.status.code(), Some(1 | 2)), "{command:?} {flag} {count}: {said}");
            let bounded =
                said.contains(" at most ") || said.contains(" from 1 to ") || said.contains(" from 2 to ");
            assert!(said.contains(count) && bounded, "{command:?} {flag} {count}: {said}");
        }
    }
    for flag in ["--prefill", "--decode", "--steps", "--train-batch"] {
        let count = if flag == "--train-batch" { "4000000000x4" } else { "4000000000" };
        let run = parr().args(["bench", "--random", "135m", "--train", flag, count]).output();
        let run = run.expect("the program starts");
        assert_eq!(run.status.code(), Some(2), "bench {flag}: {}", stderr(&run));
    }
}

#[test]
fn a_context_beyond_all_memory_is_refused() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let input = "{\"ids\": [1, 2, 3]}\n";
    for count in ["4000000000", "18446744073709551615"] {
        let mut command = parr();
        let run = feed(command.args(["logprobs", "-", "--model", &tiny(), "--context", count]), input);
        assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
        assert!(stderr(&run).contains("at most 2147483647 tokens in all"), "{}", stderr(&run));
        let mut command = parr();
        let run =
            feed(command.args(["logprobs", "-", "--model", &tiny(), "--repetition-window", count]), input);
        assert!(run.status.success(), "no token is further back than the context: {}", stderr(&run));
    }
}

#[test]
fn a_batch_much_larger_than_the_data_is_refused() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let out = folder.path().join("run");
    let run = sft(folder.path(), &out).args(["--steps", "1", "--batch", "60000"]).output();
    let run = run.expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    let expected = "batch.sequences is 60000, expected at most 256, as there are 8 rows";
    assert!(stderr(&run).contains(expected), "{}", stderr(&run));
    assert!(!out.exists());
}

#[test]
fn bytes_that_are_no_text_are_told_by_line() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let broken_rows = write(
        "rows.jsonl",
        b"{\"id\": \"a\", \"prompt\": \"hi\"}\n{\"id\": \"b\", \"prompt\": \"caf\xE9\"}\n",
    );
    let settings = write("sft.toml", b"steps = 2\n# caf\xE9\n");
    let text = write("text.txt", b"one\ncaf\xE9\n");
    let mut generate = parr();
    generate.args(["generate", "--model", &tiny(), "--jsonl"]).arg(&broken_rows);
    let mut sft = parr();
    sft.args(["sft", "--model", &tiny(), "--out", "x", "--data"])
        .arg(&broken_rows)
        .arg("--config")
        .arg(&settings);
    let mut perplexity = parr();
    perplexity.args(["perplexity", "--model", &tiny()]).arg(&text);
    let mut preferences = parr();
    preferences.args(["preferences", "--model", &tiny(), "--out", "x", "--prompts"]).arg(&broken_rows);
    for command in [&mut generate, &mut sft, &mut perplexity, &mut preferences] {
        let run = command.current_dir(folder.path()).output().expect("the program starts");
        let said = stderr(&run);
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert!(said.contains("line 2") && said.contains("not UTF-8; save"), "{said}");
    }
}

#[test]
fn a_chat_goes_on_after_a_byte_that_is_no_text_and_a_mark_at_the_start_is_skipped() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny_that_chats(folder.path());
    let input = folder.path().join("input");
    fs::write(&input, b"\xEF\xBB\xBF/stats\ncaf\xE9\n/fly\n").expect("written");
    let mut command = parr();
    command.arg("chat").arg(&model).args(["--quiet", "--max-tokens", "2"]);
    let run = command.stdin(fs::File::open(&input).expect("there")).output().expect("the program starts");
    let said = stderr(&run);
    assert!(run.status.success(), "{said}");
    assert!(said.starts_with("no reply so far\n"), "the command after the mark: {said}");
    assert!(said.contains("line 2 of standard input was not sent: byte 4 is not UTF-8"), "{said}");
    assert!(said.contains("unknown command /fly"), "the chat continues: {said}");

    let rows_file = folder.path().join("rows.jsonl");
    fs::write(&rows_file, b"\xEF\xBB\xBF{\"ids\": [1, 2]}\n").expect("written");
    let mut command = parr();
    let run = command.args(["logprobs", "--model", &tiny()]).arg(&rows_file).output();
    assert_eq!(rows(&run.expect("the program starts")).len(), 1);
}

#[test]
fn control_characters_are_shown_and_not_obeyed() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let run = parr().args(["chat", "no\u{1b}[2J\u{9b}31m\u{202e}such"]).output().expect("the program starts");
    let said = stderr(&run);
    assert!(said.contains("no\\x1b[2J\\x9b31m\\u{202e}such"), "{said}");
    let path = folder.path().join("principles.toml");
    fs::write(&path, "[[principle]]\nid = \"a\\u001b[31m\"\ndefinition = \"x\"\n").expect("written");
    let run = parr().args(["principles", "check"]).arg(&path).output().expect("the program starts");
    let said = format!("{}{}", stdout(&run), stderr(&run));
    assert!(!run.status.success() && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_reward_model_does_not_speak() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny_that_chats(folder.path());
    let at = |name: &str| folder.path().join(name);
    let pair =
        |n: usize| format!("{{\"prompt\": \"q{n}?\", \"chosen\": \"a{n}\", \"rejected\": \"b{n} b\"}}\n");
    fs::write(at("pairs.jsonl"), (0..12).map(pair).collect::<String>()).expect("written");
    let with_model = |arguments: &[&str]| {
        let mut command = parr();
        command.args(arguments).arg("--model").arg(&model);
        command
    };
    let mut train = with_model(&["reward", "train", "--steps", "1", "--rank", "1", "--max-tokens", "512"]);
    let train = train.arg("--preferences").arg(at("pairs.jsonl")).arg("--out").arg(at("reward")).output();
    let train = train.expect("the program starts");
    assert!(train.status.success(), "{}", stderr(&train));
    fs::write(at("rows.jsonl"), "{\"prompt\": \"q\", \"response\": \"a\"}\n".repeat(4)).expect("written");
    fs::write(at("texts.jsonl"), "{\"text\": \"hi\"}\n").expect("written");
    let mut of_texts = with_model(&["logprobs"]);
    of_texts.arg(at("texts.jsonl")).arg("--adapter").arg(at("reward"));
    let mut generate = with_model(&["generate", "hi", "--max-tokens", "2"]);
    generate.arg("--adapter").arg(at("reward"));
    let mut chat = with_model(&["chat"]);
    chat.arg("--adapter").arg(at("reward"));
    let mut sft = with_model(&["sft", "--steps", "1"]);
    sft.arg("--data")
        .arg(at("rows.jsonl"))
        .arg("--init-adapter")
        .arg(at("reward"))
        .arg("--out")
        .arg(at("sft"));
    for command in [&mut of_texts, &mut generate, &mut chat, &mut sft] {
        let run = feed(command, "hi\n");
        assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
        assert!(stderr(&run).contains("is a reward model: it gives scores"), "{}", stderr(&run));
    }
}
