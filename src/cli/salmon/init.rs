//! `parr salmon init`: writes a folder to start from.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::shown;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::terminal;
use parr::salmon::{Budget, NewRun, init};

const EXAMPLES: &str = "\
Examples:
  parr salmon init runs/first --principle 'Answer with a numbered list.'
  parr salmon init runs/all --budget small
  parr salmon init runs/long --budget standard
  parr salmon init runs/style --reward reward-models/smollm2-style";

/// Write a folder with settings, prompts and principles to edit
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Folder; it is created if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    #[command(flatten)]
    fresh: FreshArgs,
}

/// The settings of a new folder.
#[derive(Args)]
pub(super) struct FreshArgs {
    /// A sentence that good replies follow; can be repeated. The default is an example, or on a terminal the
    /// sentence that you are asked for
    #[arg(long, value_name = "SENTENCE")]
    principle: Vec<String>,

    /// Size of a new run. policy: with the reward model that comes with Parr, 20 minutes on two cores. small: all
    /// stages, a trial of 15 minutes. standard: the defaults of all stages, for a GPU
    #[arg(long, value_name = "BUDGET", default_value = "policy")]
    budget: BudgetName,

    /// Existing reward model for the same base; then only the policy is trained
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum BudgetName {
    Policy,
    Small,
    Standard,
}

impl FreshArgs {
    /// Writes settings, prompts and principles into `folder`, and prints their paths.
    pub(super) fn init(&self, folder: &Path, global: &GlobalArgs) -> Result<(), CliError> {
        let budget = match self.budget {
            BudgetName::Policy => Budget::Policy,
            BudgetName::Small => Budget::Small,
            BudgetName::Standard => Budget::Standard,
        };
        let mut principles = self.principle.clone();
        if budget == Budget::Policy && principles.is_empty() && !has_principles(folder) {
            principles.extend(ask());
        }
        for path in init(folder, &NewRun { budget, reward_model: self.reward.clone(), principles })? {
            global.note(format!("wrote {}", shown(&path)));
        }
        Ok(())
    }
}

/// Whether the folder already holds principles, which stay as they are.
fn has_principles(folder: &Path) -> bool {
    folder.join("principles").is_dir()
}

/// Asks a person at a terminal for a principle. `None` elsewhere, and for an empty line.
fn ask() -> Option<String> {
    if !stdin().is_terminal() {
        return None;
    }
    terminal::say(
        "What is a good reply? Type a sentence, or press Enter for \"Answer with a numbered list.\"",
    );
    let mut line = String::new();
    stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

impl InitArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        self.fresh.init(&self.folder, global)?;
        global.note("edit the files, or leave them as they are, and run:");
        global.note(format!("  parr salmon run {}", shown(&self.folder)));
        Ok(())
    }
}
