//! `parr adapter info`: shows an adapter's properties from its headers.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::write_row;
use crate::cli::table::Table;
use crate::cli::terminal;
use parr::adapter::{Adapter, Summary};

const LONG_ABOUT: &str = "\
Shows which matrices an adapter changes, its rank and scale, and its origin.
Only headers are read. `parr adapter export` and `merge` check every value.";

const EXAMPLES: &str = "\
Examples:
  parr adapter info my-adapter
  parr adapter info my-adapter.gguf --json";

/// Show an adapter's targets, rank, scale and origin
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct InfoArgs {
    /// Adapter: a PEFT directory or a GGUF file
    #[arg(value_name = "DIR")]
    adapter: PathBuf,

    /// Print the properties as one JSON object
    #[arg(long)]
    json: bool,
}

impl InfoArgs {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let summary = Adapter::inspect(&self.adapter)?;
        if self.json {
            return write_row(&json(&summary));
        }
        write!(terminal::stdout(), "{}", table(&self.adapter.display().to_string(), &summary))?;
        Ok(())
    }
}

fn json(summary: &Summary) -> Value {
    let config = &summary.config;
    json!({
        "format": summary.format.name(),
        "rank": config.rank,
        "alpha": config.alpha,
        "rs_lora": config.rs_lora,
        "scale": config.scale(),
        "targets": config.targets.iter().map(|target| target.name()).collect::<Vec<_>>(),
        "layers": summary.layers,
        "matrices": summary.pairs,
        "parameters": summary.parameters,
        "head": summary.head,
        "card": summary.card,
    })
}

fn table(path: &str, summary: &Summary) -> Table {
    let config = &summary.config;
    let card = &summary.card;
    let mut table = Table::new(&["adapter", path]);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.row([name.to_owned(), value]);
        }
    };
    row("format", Some(summary.format.name().to_owned()));
    row("rank", Some(config.rank.to_string()));
    let rule = if config.rs_lora { "alpha / sqrt(rank)" } else { "alpha / rank" };
    row("scale", Some(format!("{} ({rule}, alpha {})", config.scale(), config.alpha)));
    row("targets", Some(config.targets.to_string()));
    row("matrices", Some(format!("{} in {} layers", summary.pairs, summary.layers)));
    row("parameters", Some(summary.parameters.to_string()));
    row("scalar head", summary.head.then(|| "yes".to_owned()));
    row("base", card.base.clone());
    row("base sha256", card.base_sha256.clone());
    row("data sha256", card.data_sha256.clone());
    row("seed", card.seed.map(|seed| seed.to_string()));
    row("steps", card.steps.map(|steps| steps.to_string()));
    for (name, value) in card.metrics.iter().chain(&card.other) {
        row(name, Some(value.to_string()));
    }
    table
}
