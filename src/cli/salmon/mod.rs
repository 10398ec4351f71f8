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
use parr::salmon::PipelineConfig;
use parr::settings::Settings;

const LONG_ABOUT: &str = "\
Aligns a model to written principles (SALMON, arXiv 2310.05910), from one
settings file. By default, the reward model that comes with Parr scores replies
under your principles. A policy is trained with it and compared with the base on
prompts that it was not trained on.

With `--budget small` or `standard`, the model also writes replies and judges
them under the principles itself, and a new reward model is trained on the
verdicts and evaluated.

Each stage has its own folder, named after a hash of its inputs. manifest.json
records the stages. `run` runs only the stages that are not done. If a principle
was edited, it runs the stages that depend on that principle. If the edit is
undone, nothing runs. After a crash, it continues where it stopped.";

const EXAMPLES: &str = "\
Examples:
  parr salmon init runs/first          settings, prompts, one principle
  parr salmon run runs/first           20 minutes on two cores, no GPU
  parr salmon status runs/first        the status of each stage
  parr salmon report runs/first        one page with all results
  parr salmon run runs/own --budget small
  parr score replies.jsonl --reward runs/own/reward-5f0c... \\
      --principles runs/own/principles/small.toml";

/// Align a model to written principles: all stages from one settings file
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
    /// Folder with salmon.toml
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

/// A path for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
