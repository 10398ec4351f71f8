//! `parr reward`: trains and measures reward models.

mod certainty;
mod eval;
mod factory;
mod pointwise;
mod sentences;
mod train;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::error::CliError;
use parr::reward::RewardData;

const LONG_ABOUT: &str = "\
Trains reward models that read principles, and measures how well they follow
them. `parr score` scores replies with a trained reward model.";

const EXAMPLES: &str = "\
Examples:
  parr reward train --comparisons judged.jsonl --out runs/reward
  parr reward eval --reward runs/reward --comparisons judged.jsonl --html a.html
  parr reward factory --prompts prompts.jsonl --replies replies.jsonl > labelled.jsonl
  parr score replies.jsonl --reward runs/reward --principles policy";

/// Train and measure reward models that read principles
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct RewardArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Eval(eval::EvalArgs),
    Factory(factory::FactoryArgs),
    Sentences(sentences::SentencesArgs),
    Certainty(certainty::CertaintyArgs),
}

impl RewardArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        match self.command {
            Command::Train(args) => args.run(global),
            Command::Eval(args) => args.run(global),
            Command::Factory(args) => args.run(global),
            Command::Sentences(args) => args.run(global),
            Command::Certainty(args) => args.run(global),
        }
    }
}

/// Data for training or for measuring.
#[derive(Args)]
pub(super) struct DataArgs {
    /// Comparisons from `parr preferences`, in JSON Lines
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "preferences")]
    comparisons: Vec<PathBuf>,

    /// Principles of the comparisons: sets that come with parr, or files, joined
    #[arg(long, value_name = "SET|FILE", num_args = 1.., default_values = ["reward"])]
    principles: Vec<String>,

    /// Judge by the programs that the principles name, instead of the verdicts in the file
    #[arg(long, conflicts_with = "preferences")]
    by_check: bool,

    /// Preferences without principles: JSON Lines with prompt, chosen and rejected
    #[arg(long, value_name = "FILE")]
    preferences: Option<PathBuf>,
}

impl DataArgs {
    pub(super) fn read(&self) -> Result<RewardData, CliError> {
        if let Some(file) = &self.preferences {
            return Ok(RewardData::preferences(file)?);
        }
        if self.comparisons.is_empty() {
            return Err(CliError::Usage("--comparisons or --preferences is needed".to_owned()));
        }
        let data = RewardData::judged(&self.comparisons, &self.principles)?;
        Ok(if self.by_check { data.checked()? } else { data })
    }
}
