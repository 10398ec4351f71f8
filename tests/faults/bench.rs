//! The commands that run under faults, on a tiny model: chat, generate, score, sft, align.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parr::gpu::DeviceOptions;

use crate::align::{load, opinionated};
use crate::reward::tiny_that_reads;
use crate::support;

/// A command that is tried under faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Chat,
    Generate,
    Score,
    Sft,
    Align,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Chat, Kind::Generate, Kind::Score, Kind::Sft, Kind::Align];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Chat => "chat",
            Kind::Generate => "generate",
            Kind::Score => "score",
            Kind::Sft => "sft",
            Kind::Align => "align",
        }
    }

    /// Whether the command writes a folder from which it can be resumed.
    pub fn trains(self) -> bool {
        matches!(self, Kind::Sft | Kind::Align)
    }
}

/// A model, data, and a reward model, in a scratch folder.
pub struct Bench {
    pub folder: tempfile::TempDir,
    model: PathBuf,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if it did not end in time and was killed.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// What is wrong with this end, if it is neither success nor an error that is told properly.
    pub fn fault(&self) -> Option<String> {
        let Ended { status, stderr, .. } = self;
        let Some(status) = status else { return Some("it hangs".to_owned()) };
        if stderr.contains("panicked") {
            return Some("it panics".to_owned());
        }
        match status.code() {
            Some(0) => None,
            Some(1) if stderr.lines().any(|line| line.starts_with("error: ")) => None,
            Some(1) => Some("no error is told".to_owned()),
            Some(code) => Some(format!("exit code {code}")),
            None => Some(format!("{status}")),
        }
    }

    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Bench {
    pub fn new() -> Bench {
        let device = support::gpu::open(&DeviceOptions::default());
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny_that_reads(folder.path());
        let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}assistant:{% endif %}";
        fs::write(model.join("chat_template.jinja"), template).expect("a scratch directory is writable");
        opinionated(&load(&device, &model), folder.path());
        let bench = Bench { folder, model };
        let rows = |row: fn(u32) -> String| (0..8).map(row).collect::<String>();
        bench.write(
            "sft.jsonl",
            &rows(|n| format!("{{\"prompt\": \"q{n}?\", \"response\": \"Yes, {n} it is.\"}}\n")),
        );
        bench
            .write("prompts.jsonl", &rows(|n| format!("{{\"id\": \"p{n}\", \"prompt\": \"Is it {n}?\"}}\n")));
        bench.write(
            "replies.jsonl",
            &rows(|n| format!("{{\"prompt\": \"q{n}?\", \"response\": \"a{n}!\"}}\n")),
        );
        let set = "id = \"short\"\ntitle = \"Short\"\ndescription = \"For a test.\"\nuse = \"always\"\n\
                   [[principle]]\nid = \"brief\"\ndimension = \"Brief\"\ndefinition = \"Be brief.\"\n";
        bench.write("short.toml", set);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a scratch directory is writable");
    }

    /// The command; one that trains writes to the folder `out`. It has a cache of its own, because a driver
    /// that refuses a kernel is remembered there.
    pub fn command(&self, kind: Kind, out: &Path) -> Command {
        let cache = out.with_extension("cache");
        self.warm(&cache);
        let mut command = Command::new(env!("CARGO_BIN_EXE_parr"));
        command.env("PARR_CACHE", cache).args([kind.name(), "--quiet"]);
        command.arg("--model").arg(&self.model);
        match kind {
            Kind::Chat => command.args(["--max-tokens", "6", "--seed", "1"]),
            Kind::Generate => command.args(["--max-tokens", "8", "--seed", "1", "Is it?"]),
            Kind::Score => {
                command.arg("--reward").arg(self.path("reward")).arg("--any-base");
                command.arg("--principles").arg(self.path("short.toml")).args(["--batch", "2"]);
                command.arg(self.path("replies.jsonl"))
            }
            Kind::Sft => {
                command.arg("--data").arg(self.path("sft.jsonl")).arg("--out").arg(out);
                command.args(["--steps", "4", "--save-every", "2", "--batch", "2", "--rank", "2"])
            }
            Kind::Align => {
                command.arg("--reward").arg(self.path("reward")).arg("--any-base");
                command.arg("--principles").arg(self.path("short.toml"));
                command.arg("--prompts").arg(self.path("prompts.jsonl")).arg("--out").arg(out);
                command.args(["--batch", "2", "--rank", "2", "--max-reply-tokens", "4", "--steps", "2"]);
                command.args(["--max-prompt-tokens", "60", "--update-epochs", "1", "--save-every", "1"])
            }
        };
        command
    }

    /// Copies the pipelines of the first command that was run to its end into a new cache, which saves their
    /// compilation.
    pub fn warm(&self, cache: &Path) {
        let (from, to) = (self.path("warm"), cache.join("pipelines"));
        if to.exists() || !from.exists() {
            return;
        }
        fs::create_dir_all(cache).expect("a scratch directory is writable");
        private_folder(&to);
        for entry in fs::read_dir(&from).expect("it is there") {
            let entry = entry.expect("it can be listed");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a scratch directory is writable");
        }
    }

    /// Keeps the pipelines of the command that wrote to `out` for all later commands.
    pub fn keep_pipelines(&self, out: &Path) {
        let from = out.with_extension("cache").join("pipelines");
        let to = self.path("warm");
        let _ = fs::remove_dir_all(&to);
        fs::rename(from, to).expect("the command stored its pipelines");
    }

    /// Runs `command`, with two messages on its standard input if it chats, for at most `limit`.
    pub fn run(&self, kind: Kind, command: &mut Command, limit: Duration) -> Ended {
        use std::io::{Read, Write};

        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped above");
        if kind == Kind::Chat {
            // A program that fails early does not read to the end.
            let _ = stdin.write_all(b"Is it?\nAnd now?\n");
        }
        drop(stdin);
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = read(Box::new(child.stdout.take().expect("piped above")));
        let stderr = read(Box::new(child.stderr.take().expect("piped above")));
        let deadline = Instant::now() + limit;
        let status = loop {
            match child.try_wait().expect("the child is ours") {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => {
                    child.kill().expect("SIGKILL reaches the child");
                    child.wait().expect("the child is gone");
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let join = |text: std::thread::JoinHandle<String>| text.join().expect("it only reads");
        Ended { status, stdout: join(stdout), stderr: join(stderr) }
    }

    /// What the command made: its output, or the bytes of the adapter.
    pub fn result(&self, kind: Kind, ended: &Ended, out: &Path) -> Vec<u8> {
        if !kind.trains() {
            return ended.stdout.clone().into_bytes();
        }
        fs::read(out.join("adapter/adapter_model.safetensors")).unwrap_or_default()
    }
}

/// A folder that only this user can write to, as the cache wants it.
fn private_folder(path: &Path) {
    fs::create_dir(path).expect("a scratch directory is writable");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(path, mode).expect("it is ours");
    }
}
