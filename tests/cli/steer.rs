//! Steered replies from outside: principles that change during a chat, candidates, the methods compared.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parr::format::Checkpoint;
use parr::model::ModelConfig;
use serde_json::Value;

use super::{feed, parr, rows, stderr, stdout};
use crate::steer::{scorer, tiny_that_chats};
use crate::support;

/// A tiny model that chats, a reward model for it, a file of principles.
struct Bench {
    folder: tempfile::TempDir,
    model: PathBuf,
    reward: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny_that_chats(folder.path());
        let checkpoint = Checkpoint::open(&model).expect("a sound checkpoint");
        let config = ModelConfig::from_checkpoint(&checkpoint).expect("a sound checkpoint");
        let reward = scorer(&config, folder.path());
        let bench = Bench { folder, model, reward };
        bench.principle("\"Say yes.\"");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file of principles anew.
    fn principle(&self, definition: &str) {
        let text = format!(
            "id = \"mine\"\ntitle = \"Mine\"\ndescription = \"For a test.\"\nuse = \"judge\"\n\n\
             [[principle]]\nid = \"loud\"\ndimension = \"Loud\"\ndefinition = \"Use exclamation marks!\"\n\
             negative = \"Use none.\"\nweight = 1\ncheck = \"exclamation\"\n\n\
             [[principle]]\nid = \"one\"\ndimension = \"One\"\ndefinition = {definition}\n\
             negative = \"Do not.\"\nweight = 2\n"
        );
        fs::write(self.path("mine.toml"), text).expect("a scratch directory is writable");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = parr();
        command.args(words).args(["--context", "400", "--model"]).arg(&self.model);
        command.arg("--principles").arg(self.path("mine.toml"));
        command
    }

    fn rewarded(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.arg("--reward").arg(&self.reward);
        command
    }
}

/// The last reply of a conversation that `/save` writes to `path`; waits for it.
fn saved(path: &Path) -> String {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing was saved");
        std::thread::sleep(Duration::from_millis(20));
    }
    loop {
        // It may be there before it is whole.
        let text = fs::read_to_string(path).expect("it is there");
        if let Ok(saved) = serde_json::from_str::<Value>(&text) {
            let messages = saved["messages"].as_array().expect("messages");
            return messages.last().expect("a reply")["content"].as_str().expect("text").to_owned();
        }
    }
}

#[test]
fn an_edited_line_changes_the_next_reply_and_a_broken_one_does_not() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let mut command = bench.command(&["chat", "--temperature", "0", "--max-tokens", "8"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut reply = |name: &str| {
        let path = bench.path(name);
        writeln!(stdin, "/reset\nIs it one?\n/save {}", path.display()).expect("it reads");
        saved(&path)
    };
    let first = reply("first.jsonl");
    assert_eq!(reply("again.jsonl"), first, "nothing is drawn by chance");
    bench.principle("\"Say no, and say why.\"");
    let edited = reply("edited.jsonl");
    assert_ne!(edited, first);
    bench.principle("7");
    assert_eq!(reply("broken.jsonl"), edited, "what was read last stays");
    bench.principle("\"Say yes.\"");
    assert_eq!(reply("back.jsonl"), first);
    writeln!(stdin, "/principles\n/best-of 2\n/scores on\n/principles nothing-such").expect("it reads");
    drop(stdin);
    let end = child.wait_with_output().expect("it ends");
    let said = stderr(&end);
    assert!(end.status.success(), "{said}");
    assert_eq!(said.matches("mine.toml has changed; principles in use: 2").count(), 2, "{said}");
    assert!(said.contains("line 17 column 14"), "{said}");
    assert!(said.contains("the principles stay as they were"), "{said}");
    let listed = "- Say yes. [one, weight 2]\n- Use exclamation marks! [loud, weight 1]";
    assert!(said.contains(listed), "{said}");
    assert_eq!(said.matches("needs a reward model, but there is none: start with --reward DIR").count(), 2);
    assert!(said.contains("there is no set of principles `nothing-such`"), "{said}");
}

#[test]
fn candidates_come_with_scores_and_seeds() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let sampling = ["--temperature", "1", "--top-p", "1", "--max-tokens", "6"];
    let prompts = bench.path("prompts.jsonl");
    fs::write(&prompts, "{\"prompt\": \"Is it one?\", \"id\": \"a\"}\n{\"prompt\": \"And two?\"}\n")
        .expect("a scratch directory is writable");
    let path = prompts.to_str().expect("UTF-8");
    let words = ["generate", "--jsonl", path, "--best-of", "3", "--scores"];
    let found = rows(&bench.rewarded(&words).args(sampling).output().expect("the program starts"));
    assert_eq!(found.len(), 2);
    for row in &found {
        let candidates = row["candidates"].as_array().expect("candidates");
        assert_eq!((candidates.len(), &row["choices"]), (3, &1.into()));
        let score = |value: &Value| value.as_f64().expect("a score");
        let most = candidates.iter().map(|one| score(&one["score"])).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(score(&row["score"]), most);
        assert!(candidates.iter().any(|one| one["text"] == row["text"]));
        let alone = candidates[0]["by_principle"].as_object().expect("by principle");
        assert_eq!(alone.keys().collect::<Vec<_>>(), ["one", "loud"], "the heaviest first");
    }
    // A candidate's seed draws it again.
    let last = &found[0]["candidates"][2];
    let seed = last["seed"].to_string();
    let mut plain = bench.command(&["generate", "Is it one?", "--json"]);
    let plain = rows(&plain.args(sampling).args(["--seed", &seed]).output().expect("the program starts"));
    assert_eq!(plain[0]["text"], last["text"]);
    assert!(plain[0].get("candidates").is_none() && plain[0].get("score").is_none(), "{}", plain[0]);

    let mut chat = bench.rewarded(&["chat", "--guided", "3", "--best-of", "2"]);
    let run = feed(chat.args(sampling), "Is it one?\n/scores on\n/stats\nIs it two?\n");
    assert!(run.status.success(), "{}", stderr(&run));
    let said = stderr(&run);
    assert!(said.contains("12 tokens generated in total"), "{said}");
    assert!(
        said.contains(", after 2 choices\n") && said.contains("  one\n") && said.contains("  loud"),
        "{said}"
    );
    assert!(!stdout(&run).trim().is_empty());
}

#[test]
fn flags_that_need_each_other_say_so() {
    for (words, advice) in [
        (&["chat", "--best-of", "4"][..], "--reward"),
        (&["chat", "--guided", "4"], "--reward"),
        (&["chat", "--scores"], "--reward"),
        (&["generate", "Hi", "--tell", "nobody", "--principles", "honest"], "add --reward DIR"),
        (&["generate", "Hi", "--tell", "me"], "expected system, question or nobody"),
        (&["generate", "Hi", "--raw", "--principles", "honest"], "cannot be used with"),
        (&["chat", "--reward", "somewhere", "--best-of", "0"], "0 is not in 1..=256"),
    ] {
        let run = parr().args(words).output().expect("the program starts");
        assert_eq!(run.status.code(), Some(2), "{words:?}");
        assert!(stderr(&run).contains(advice), "{words:?}: {}", stderr(&run));
    }
}

#[test]
fn the_methods_are_compared() {
    let _turn = support::gpu::turn();
    super::needs_gpu();
    let bench = Bench::new();
    let prompts = bench.path("prompts.jsonl");
    fs::write(&prompts, "{\"prompt\": \"Is it <one>?\", \"more\": 1}\n{\"prompt\": \"And two?\"}\n")
        .expect("a scratch directory is writable");
    let path = prompts.to_str().expect("UTF-8");
    let mut command = bench.rewarded(&["steer", "compare", "--prompts", path, "--best-of", "2"]);
    command.args(["--guided", "3", "--max-tokens", "6", "--seed", "1"]);
    command.arg("--html").arg(bench.path("comparison.html")).arg("--json").arg(bench.path("comparison.json"));
    // Without its head the scorer serves as a policy as well: an adapter that is not the base.
    let policy = bench.path("policy");
    fs::create_dir(&policy).expect("a scratch directory is writable");
    for entry in fs::read_dir(&bench.reward).expect("it is there") {
        let entry = entry.expect("it can be listed");
        if entry.file_name() != "reward_head.safetensors" {
            fs::copy(entry.path(), policy.join(entry.file_name())).expect("a scratch directory is writable");
        }
    }
    command.arg("--adapter").arg(&policy);
    let run = command.output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    // A page that cannot be written costs nothing but itself. No room is left for the end of a temporary name.
    let longest = "h".repeat(250);
    let mut again = bench.rewarded(&["steer", "compare", "--prompts", path, "--best-of", "2"]);
    again.args(["--guided", "0", "--max-tokens", "2"]).arg("--html").arg(bench.path(&longest));
    let again = again.arg("--json").arg(bench.path("again.json")).output().expect("the program starts");
    assert!(!again.status.success() && stdout(&again).contains("best of 2"), "{}", stderr(&again));
    assert!(stderr(&again).contains(&longest) && bench.path("again.json").is_file(), "{}", stderr(&again));
    let mut same = bench.rewarded(&["steer", "compare", "--prompts", path]);
    same.current_dir(bench.folder.path()).args(["--html", "one", "--json", "./one"]);
    let same = same.output().expect("the program starts");
    assert_eq!(same.status.code(), Some(2), "{}", stderr(&same));

    let report = fs::read(bench.path("comparison.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let methods = report["methods"].as_array().expect("methods");
    let names: Vec<&str> = methods.iter().filter_map(|method| method["name"].as_str()).collect();
    assert_eq!(names, ["base", "prompt", "best of 2", "guided", "adapter"]);
    assert_eq!((&report["plain_sampling"], &report["prompts"]), (&true.into(), &2.into()));
    assert_ne!(
        report["replies"][0]["seed"], report["replies"][1]["seed"],
        "noise of its own for each prompt"
    );
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    for (method, name) in methods.iter().zip(&names) {
        assert_eq!(method["score"]["of"], 2, "{name}");
        assert!(number(&method["cost"]["seconds"]) > 0.0);
        // Two replies of up to six tokens: ten pairs of neighbours, some of which may be the same.
        let distinct = number(&method["distinct_2"]);
        assert!((0.1..=1.0).contains(&distinct), "{name}: {distinct}");
        assert_eq!(method["checks"][0]["principle"], "loud");
        assert!(stdout(&run).contains(name), "{}", stdout(&run));
        let searches = name.starts_with("best") || *name == "guided";
        assert_eq!(number(&method["cost"]["scored_tokens"]) > 0.0, searches, "{name}");
        let one_choice = 2f64.ln() - 0.5;
        match *name {
            "base" => assert!(method["divergence"].is_null() && method["better"].is_null()),
            _ => {
                let choosing = number(&method["divergence"]["choosing"]);
                assert!(number(&method["divergence"]["drawn"]["mean"]).abs() > 1e-3, "{name}");
                assert!(
                    choosing == 0.0 || (searches && choosing >= one_choice - 1e-12),
                    "{name}: {choosing}"
                );
            }
        }
    }
    assert_eq!(report["replies"][1]["replies"].as_array().map(Vec::len), Some(5));
    let page = fs::read_to_string(bench.path("comparison.html")).expect("a page");
    assert!(page.contains("Is it &lt;one&gt;?") && !page.contains("<one>"));
    assert_eq!(page.matches("<svg").count(), 3, "distance, cost, checks");
    for outside in ["http:", "https:", "<script", "<link", "<img", "url(", "@import", "NaN", "inf\""] {
        assert!(!page.contains(outside), "the page holds {outside}");
    }
}
