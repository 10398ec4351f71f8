//! `parr salmon init`: writes a folder to start from.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::shown;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use parr::salmon::{Budget, init};

const EXAMPLES: &str = "\
Examples:
  parr salmon init runs/first
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
    /// Size of a new run. small: 15 minutes on two cores. standard: the defaults of all stages, for a GPU
    #[arg(long, value_name = "BUDGET", default_value = "small")]
    budget: BudgetName,

    /// Existing reward model for the same base; then only the policy is trained
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum BudgetName {
    Small,
    Standard,
}

impl FreshArgs {
    /// Writes settings, prompts and principles into `folder`, and prints their paths.
    pub(super) fn init(&self, folder: &Path, global: &GlobalArgs) -> Result<(), CliError> {
        let budget = match self.budget {
            BudgetName::Small => Budget::Small,
            BudgetName::Standard => Budget::Standard,
        };
        for path in init(folder, budget, self.reward.as_deref())? {
            global.note(format!("wrote {}", shown(&path)));
        }
        Ok(())
    }
}

impl InitArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        self.fresh.init(&self.folder, global)?;
        global.note("edit the files, or leave them as they are, and run:");
        global.note(format!("  parr salmon run {}", shown(&self.folder)));
        Ok(())
    }
}
