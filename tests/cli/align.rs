//! `parr align` on a tiny model: from prompts and a reward model to an adapter.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use parr::gpu::DeviceOptions;
use parr::settings::Settings;
use serde_json::Value;

use super::{parr, stderr, stdout};
use crate::align::{load, opinionated};
use crate::reward::tiny_that_reads;
use crate::support;

/// A model that chats, prompts, and a reward model that has learned nothing.
struct Bench {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let device = support::gpu::open(&DeviceOptions::default());
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny_that_reads(folder.path());
        let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}assistant:{% endif %}";
        fs::write(model.join("chat_template.jinja"), template).expect("a scratch directory is writable");
        opinionated(&load(&device, &model), folder.path());
        let bench = Bench { folder, model };
        let prompt = |number: u32| format!("{{\"id\": \"p{number}\", \"prompt\": \"Is it {number}?\"}}\n");
        let long = format!("{{\"id\": \"long\", \"prompt\": \"{}\"}}\n", "Is it? ".repeat(40));
        bench.write("prompts.jsonl", &((0..6).map(prompt).collect::<String>() + &long));
        let set = "id = \"short\"\ntitle = \"Short\"\ndescription = \"For a test.\"\nuse = \"always\"\n\
                   [[principle]]\nid = \"brief\"\ndimension = \"Brief\"\ndefinition = \"Be brief.\"\n";
        bench.write("short.toml", set);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a scratch directory is writable");
    }

    fn align(&self, out: &str) -> Command {
        let mut command = parr();
        command.args(["align", "--batch", "4", "--rank", "4", "--max-reply-tokens", "5"]);
        command.args(["--max-prompt-tokens", "60", "--update-epochs", "1", "--any-base"]);
        command.arg("--model").arg(&self.model).arg("--prompts").arg(self.path("prompts.jsonl"));
        command.arg("--principles").arg(self.path("short.toml")).arg("--out").arg(self.path(out));
        command
    }
}

#[test]
fn prompts_and_a_reward_model_become_an_adapter() {
    let _turn = support::gpu::turn();
    let bench = Bench::new();
    let mut command = bench.align("run");
    command.arg("--reward").arg(bench.path("reward")).args(["--steps", "2", "--show-every", "1"]);
    let run = command.output().expect("the program starts");
    let said = stderr(&run);
    assert!(run.status.success(), "{said}");
    for expected in [
        "6 prompts (1 too long, left out), 4 replies a step; 3 adapters on one base",
        "a reply of step 1, reward",
        "principles: brief",
        "step 2/2: reward",
        "parr chat --model",
    ] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    for file in ["align.toml", "metrics.jsonl", "rollouts/step-00000002.jsonl", "adapter/parr.json"] {
        assert!(bench.path("run").join(file).is_file(), "{file}");
    }
    assert!(!bench.path("run/adapter/reward_head.safetensors").exists(), "a policy scores nothing");
    let metrics = fs::read_to_string(bench.path("run/metrics.jsonl")).expect("it keeps them");
    let first: Value = serde_json::from_str(metrics.lines().next().expect("two steps")).expect("JSON");
    for name in [
        "objective/kl",
        "objective/scores",
        "objective/rlhf_reward",
        "objective/reward/reward_model",
        "policy/approxkl_avg",
        "policy/clipfrac_avg",
        "val/ratio",
        "loss/policy_avg",
        "loss/value_avg",
        "lr",
        "episode",
        "train/tokens_per_second",
        "time/sample_seconds",
        "time/prefill_seconds",
        "time/decode_seconds",
        "completions/decode_tokens_per_second",
    ] {
        assert!(first[name].is_number(), "{name} in {first}");
    }
    assert_eq!((&first["objective/kl"], &first["val/mean"]), (&0.0.into(), &0.0.into()));

    let again = bench.align("run").arg("--reward").arg(bench.path("reward")).output().expect("it starts");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("contains a run at step 2"), "{}", stderr(&again));
    let mut grpo = bench.align("grpo");
    grpo.args(["--algorithm", "grpo", "--replies", "2", "--budget", "1s"]);
    // On a base of its own, and no adapter of the policy's.
    grpo.arg("--reward").arg(bench.path("reward")).arg("--reward-base").arg(&bench.model);
    let grpo = grpo.output().expect("it starts");
    assert!(grpo.status.success(), "{}", stderr(&grpo));
    assert!(stderr(&grpo).contains("a step takes"), "{}", stderr(&grpo));
    assert!(stderr(&grpo).contains("8 replies a step; 1 adapter on"), "{}", stderr(&grpo));
}

#[test]
fn mistakes_are_told_before_anything_is_loaded() {
    let run = |words: &[&str]| parr().arg("align").args(words).output().expect("the program starts");
    let missing = run(&["--prompts", "p.jsonl"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("--out"), "{}", stderr(&missing));
    let group = run(&["--prompts", "p.jsonl", "--out", "o", "--algorithm", "grpo"]);
    assert!(stderr(&group).contains("rollout.replies is 1, expected at least 2"), "{}", stderr(&group));
    let name = run(&["--prompts", "p.jsonl", "--out", "o", "--algorithm", "sarsa"]);
    assert!(name.status.code() == Some(2) && stderr(&name).contains("ppo, grpo, rloo"), "{}", stderr(&name));
    let set = run(&["--prompts", "p.jsonl", "--out", "o", "--principles", "polici"]);
    assert!(stderr(&set).contains("polici"), "{}", stderr(&set));
    let printed = parr().args(["align", "--print-config"]).output().expect("the program starts");
    assert_eq!(super::stdout(&printed), parr::align::AlignConfig::SAMPLE);
}

#[test]
fn the_help_page_lists_every_algorithm_with_its_description() {
    let help = parr().args(["align", "--help"]).output().expect("the program starts");
    let help = stdout(&help);
    for spec in parr::align::ALGORITHMS {
        let line = format!("- {}: ", spec.name);
        let entry = help.lines().map(str::trim).find(|entry| entry.starts_with(&line));
        let entry = entry.unwrap_or_else(|| panic!("no `{line}` in {help}"));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(words(spec.description).starts_with(&words(&entry[line.len()..])), "{entry}");
    }
}
