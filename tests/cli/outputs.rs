//! No command writes over a file or into a folder that Parr did not write, whatever its name leads to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use parr::adapter::Adapter;
use parr::format::Checkpoint;
use parr::model::ModelConfig;

use super::{golden, needs_gpu, parr, stderr, tiny};
use crate::adapter::adapter;
use crate::judge::tiny_that_chats;
use crate::support;

const PRECIOUS: &str = "{\"id\": \"p0\", \"prompt\": \"my only prompt\"}";

/// Runs `command`, which must refuse its output and leave `file` as it is.
fn refuses(command: &mut Command, file: &Path, words: &str) {
    let before = fs::read(file).expect("it is there");
    let run = command.output().expect("the program starts");
    let said = stderr(&run);
    assert!(!run.status.success() && said.contains(words) && said.contains("choose"), "{said}");
    assert_eq!(fs::read(file).expect("it is still there"), before, "{said}");
}

/// Names for one file: its own, another way to it, and on Unix both kinds of link.
fn names(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().expect("a folder");
    let mut names = vec![path.to_owned(), folder.join(".").join(path.file_name().expect("a name"))];
    #[cfg(unix)]
    {
        let (soft, hard) = (folder.join("soft.link"), folder.join("hard.link"));
        std::os::unix::fs::symlink(path, &soft).expect("linked");
        fs::hard_link(path, &hard).expect("linked");
        names.extend([soft, hard]);
    }
    names
}

#[test]
fn preferences_go_into_a_file_of_their_own() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny_that_chats(folder.path());
    let at = |name: &str| folder.path().join(name);
    fs::write(at("prompts.jsonl"), format!("{PRECIOUS}\n")).expect("written");
    fs::write(at("one-line.json"), PRECIOUS).expect("written");
    let collect = |out: &Path| {
        let mut command = parr();
        command.args(["preferences", "--principles", "style:style-concise", "--judge", "check"]);
        command.args(["--replies", "contrast", "--max-tokens", "4", "--batch", "2", "--quiet", "--model"]);
        command.arg(&model).arg("--prompts").arg(at("prompts.jsonl")).arg("--out").arg(out);
        command
    };
    for name in names(&at("prompts.jsonl")) {
        refuses(&mut collect(&name), &at("prompts.jsonl"), "this command reads it");
    }
    refuses(&mut collect(&at("one-line.json")), &at("one-line.json"), "is missing, so no run wrote it");
    assert!(!at("one-line.json.toml").exists());

    // Somebody's file beside the output would be replaced by the settings of the run.
    fs::write(at("new.jsonl.toml"), "mine = true\n").expect("written");
    refuses(&mut collect(&at("new.jsonl")), &at("new.jsonl.toml"), "no run wrote it");

    // A file of a run is taken up: what a kill left of its last line goes, and nothing else.
    let out = at("judged.jsonl");
    let run = collect(&out).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    let whole = fs::read(&out).expect("written");
    fs::write(&out, [&whole[..], b"{\"id\":\"p9\",\"pro"].concat()).expect("written");
    let run = collect(&out).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    assert_eq!(fs::read(&out).expect("there"), whole);
    fs::write(&out, [&whole[..], b"a note of mine"].concat()).expect("written");
    let run = collect(&out).output().expect("the program starts");
    assert!(!run.status.success(), "a line of somebody else is not cut off");
    assert!(fs::read(&out).expect("there").ends_with(b"a note of mine"));
}

#[test]
fn logits_replace_only_logits() {
    let _turn = support::gpu::turn();
    needs_gpu();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("rows.jsonl"), "{\"ids\": [1, 2, 3]}\n").expect("written");
    fs::write(at("mine.html"), "<!DOCTYPE html>").expect("written");
    let logprobs = |logits: &Path| {
        let mut command = parr();
        command.arg("logprobs").arg(at("rows.jsonl")).args(["--model", &tiny(), "--logits"]).arg(logits);
        command
    };
    for name in names(&at("rows.jsonl")) {
        refuses(&mut logprobs(&name), &at("rows.jsonl"), "this command reads it");
    }
    refuses(&mut logprobs(&at("mine.html")), &at("mine.html"), "parr did not write it as a safetensors file");
    let model = Path::new(&tiny()).join("model.safetensors");
    refuses(&mut logprobs(&model), &model, "this command reads it in");
    let out = at("logits.safetensors");
    for _ in 0..2 {
        let run = logprobs(&out).output().expect("the program starts");
        assert!(run.status.success(), "a fresh file, then our own: {}", stderr(&run));
    }
    #[cfg(unix)]
    {
        let run = logprobs(Path::new("/dev/null")).output().expect("the program starts");
        assert!(!run.status.success() && stderr(&run).contains("is not a file"), "{}", stderr(&run));
    }
}

#[test]
fn a_run_takes_a_folder_of_its_own() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("rows.jsonl"), "{\"ids\": [1, 2, 3], \"loss_mask\": [0, 1, 1]}\n".repeat(8))
        .expect("written");
    let out = at("mine");
    fs::create_dir(&out).expect("made");
    let settings = out.join("sft.toml");
    fs::write(&settings, "# my notes\nsteps = 2\n").expect("written");
    let _turn = support::gpu::turn();
    needs_gpu();
    let sft = |out: &Path| {
        let mut command = parr();
        command.args(["sft", "--model", &tiny(), "--rank", "1", "--steps", "2", "--held-out", "0"]);
        command.arg("--data").arg(at("rows.jsonl")).arg("--out").arg(out);
        command
    };
    refuses(sft(&out).arg("--config").arg(&settings), &settings, "parr did not write this folder");
    assert_eq!(fs::read_dir(&out).expect("there").count(), 1, "nothing was added");
    refuses(&mut sft(&at("rows.jsonl")), &at("rows.jsonl"), "is not a folder");
    let run = sft(&at("run")).output().expect("the program starts");
    assert!(run.status.success(), "{}", stderr(&run));
    let run = sft(&at("run")).arg("--resume").output().expect("the program starts");
    assert!(run.status.success(), "its own folder: {}", stderr(&run));
    // A settings file that was copied from a run makes no folder the folder of a run.
    fs::write(out.join("metrics.jsonl"), "my figures\n").expect("written");
    fs::copy(at("run/sft.toml"), &settings).expect("copied");
    refuses(&mut sft(&out), &out.join("metrics.jsonl"), "parr did not write this folder");
    // Nor does a run start anew where only damaged states are left.
    let states = fs::read_dir(at("run/checkpoints")).expect("listed");
    let states: Vec<PathBuf> = states.map(|entry| entry.expect("listed").path()).collect();
    let sound: Vec<Vec<u8>> = states.iter().map(|path| fs::read(path).expect("there")).collect();
    for (path, bytes) in states.iter().zip(&sound) {
        fs::write(path, &bytes[..bytes.len() - 1]).expect("written");
    }
    for more in [&[][..], &["--resume"]] {
        let metrics = fs::read(at("run/metrics.jsonl")).expect("there");
        let run = sft(&at("run")).args(more).output().expect("the program starts");
        let said = stderr(&run);
        assert!(!run.status.success() && said.contains("delete the folder to start anew"), "{said}");
        let name = states[0].file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert!(said.contains(name), "{said}");
        assert_eq!(fs::read(at("run/metrics.jsonl")).expect("there"), metrics);
    }
    for (path, bytes) in states.iter().zip(&sound) {
        fs::write(path, bytes).expect("written");
    }
    // The adapter that a run starts from is not the one that it writes.
    let adapter = at("run/adapter/adapter_model.safetensors");
    let mut again = sft(&at("run"));
    again.args(["--resume", "--init-adapter"]).arg(at("run/adapter"));
    refuses(&mut again, &adapter, "this command reads");
}

#[test]
fn adapters_and_merged_models_replace_only_their_kind() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| folder.path().join(name);
    let model = golden("tiny/llama3-rope-gqa");
    let config = ModelConfig::from_checkpoint(&Checkpoint::open(&model).expect("sound")).expect("a model");
    let plain = Adapter { card: Default::default(), ..adapter(&config, 2, 4.0, "q,v") };
    plain.write_peft(&at("own")).expect("written");
    let export = |to: &str, out: &Path| {
        let mut command = parr();
        command.args(["adapter", "export", "--any-base", "--to", to, "--model"]).arg(&model);
        command.arg(at("own")).arg("--out").arg(out);
        command
    };
    let weights = at("own/adapter_model.safetensors");
    refuses(&mut export("peft", &at("own")), &weights, "this command reads it");

    // A PEFT directory from elsewhere: the same files without the mark.
    fs::create_dir(at("theirs")).expect("made");
    fs::copy(at("own/adapter_config.json"), at("theirs/adapter_config.json")).expect("copied");
    let mut theirs = fs::read(&weights).expect("there");
    let mark = theirs.windows(10).position(|bytes| bytes == b"written_by").expect("the mark");
    theirs[mark] = b'W';
    fs::write(at("theirs/adapter_model.safetensors"), &theirs).expect("written");
    let weights = at("theirs/adapter_model.safetensors");
    let before = fs::read(&weights).expect("there");
    let run = export("peft", &at("theirs")).output().expect("the program starts");
    assert!(!run.status.success() && stderr(&run).contains("parr did not write"), "{}", stderr(&run));
    assert_eq!(fs::read(&weights).expect("there"), before);

    fs::write(at("theirs.gguf"), "GGUF, but another").expect("written");
    refuses(
        &mut export("gguf", &at("theirs.gguf")),
        &at("theirs.gguf"),
        "parr did not write it as a GGUF file",
    );
    for to in ["peft", "gguf"] {
        for _ in 0..2 {
            let run = export(to, &at(to)).output().expect("the program starts");
            assert!(run.status.success(), "a fresh path, then our own: {}", stderr(&run));
        }
    }
}

#[cfg(unix)]
#[test]
fn what_a_killed_export_left_goes_with_the_next_one() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| folder.path().join(name);
    let model = golden("tiny/llama3-rope-gqa");
    let config = ModelConfig::from_checkpoint(&Checkpoint::open(&model).expect("sound")).expect("a model");
    adapter(&config, 2, 4.0, "q,v").write_peft(&at("own")).expect("written");
    let mut child = Command::new("true").spawn().expect("it starts");
    let left = at(&format!(".out.gguf.{}-0.tmp", child.id()));
    child.wait().expect("it ends");
    fs::write(&left, "half a file").expect("written");
    let mut command = parr();
    command.args(["adapter", "export", "--any-base", "--to", "gguf", "--model"]).arg(&model);
    let run = command.arg(at("own")).arg("--out").arg(at("out.gguf")).output().expect("the program starts");
    assert!(run.status.success() && !left.exists(), "{}", stderr(&run));
}
