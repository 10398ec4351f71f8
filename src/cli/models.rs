//! `parr models`: the models on this machine.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::error::CliError;
use super::output::write_row;
use super::table::Table;
use super::terminal::{self, shown};
use parr::hub::{self, LocalModel, cache_dir, local_models};

const LONG_ABOUT: &str = "\
Shows the models on this machine: those that parr pulled, and those of Ollama,
which parr uses in place. Each has the name that other commands accept.";

const EXAMPLES: &str = "\
Examples:
  parr models                      name, size and path of each model
  parr models list --json
  parr models remove smollm2       frees its space in the cache
  parr pull --list                 models with short names, to pull

Ollama's folder is OLLAMA_MODELS, or .ollama/models in the home directory. PARR_CACHE
is the folder of parr's cache. `parr models remove` does not touch Ollama's files.";

/// Show or remove the models on this machine
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List the models on this machine
    #[command(after_long_help = EXAMPLES)]
    List {
        /// Print one JSON object per model: name, path, bytes, ollama
        #[arg(long)]
        json: bool,
    },
    /// Remove a model from the cache
    #[command(after_long_help = EXAMPLES)]
    Remove {
        /// Name, as `parr models` shows it
        model: String,
    },
}

impl ModelsArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let cache = cache_dir()?;
        match &self.command {
            Some(Command::Remove { model }) => {
                let freed = hub::remove(&cache, model)?;
                global.note(format!("removed {}: {} freed", shown(model), size(freed)));
                Ok(())
            }
            Some(Command::List { json: true }) => {
                for LocalModel { name, path, bytes, from_ollama } in local_models(&cache) {
                    write_row(&json!({ "name": name, "path": path, "bytes": bytes, "ollama": from_ollama }))?;
                }
                Ok(())
            }
            Some(Command::List { json: false }) | None => {
                let models = local_models(&cache);
                if models.is_empty() {
                    global.note("no models here; `parr pull --list` shows some to pull");
                    return Ok(());
                }
                let mut table = Table::new(&["model", "size", "path"]);
                for model in &models {
                    table.row([model.name.clone(), size(model.bytes), model.path.display().to_string()]);
                }
                write!(terminal::stdout(), "{}", shown(&table.to_string()))?;
                Ok(())
            }
        }
    }
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
