//! `parr salmon`: every stage from one settings file.

mod init;
mod report;
mod run;
mod screen;
mod status;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::error::CliError;
use crate::salmon::PipelineConfig;
use crate::settings::Settings;

const LONG_ABOUT: &str = "\
Aligns a model to written principles by its own judgement (SALMON, arXiv 2310.05910), from one settings file.
The model writes replies and judges them under the principles; a reward model learns to read principles from
that, and is measured.

Each stage has a folder that is named for all that it is made from, and manifest.json says what that was. So
`run` does only what is not done yet: after an edit of a principle that which depends on it, after an edit that
is undone nothing, after a crash the rest.";

const EXAMPLES: &str = "\
Examples:
  parr salmon init runs/first          settings, a few prompts, four principles
  parr salmon run runs/first           a quarter of an hour on two cores without a GPU
  parr salmon status runs/first        what is done, and what an edit would redo
  parr salmon report runs/first        one page on what came of it
  parr score replies.jsonl --reward runs/first/reward-5f0c... --principles runs/first/principles/small.toml";

/// Align a model to written principles, every stage from one settings file
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct SalmonArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::InitArgs),
    Run(run::RunArgs),
    Report(report::ReportArgs),
    Status(status::StatusArgs),
}

impl SalmonArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        match self.command {
            Command::Init(args) => args.run(global),
            Command::Run(args) => args.run(global),
            Command::Report(args) => args.run(global),
            Command::Status(args) => args.run(),
        }
    }
}

/// The folder of a pipeline, and its settings.
#[derive(Args)]
struct FolderArgs {
    /// The folder, with salmon.toml in it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl FolderArgs {
    fn settings_file(&self) -> PathBuf {
        self.folder.join(PipelineConfig::FILE)
    }

    fn settings(&self) -> Result<PipelineConfig, CliError> {
        Ok(PipelineConfig::read(&self.settings_file())?)
    }
}

/// A path as one types it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
