//! `parr salmon init`: a folder to begin with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shown;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::pipeline::{Budget, init};

const EXAMPLES: &str = "\
Examples:
  parr salmon init runs/first
  parr salmon init runs/long --budget standard";

/// Write settings with comments, prompts and principles, all to be edited
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    #[command(flatten)]
    budget: BudgetArgs,
}

/// How much is done.
#[derive(Args)]
pub(super) struct BudgetArgs {
    /// How much is done: a quarter of an hour on two cores, or the defaults of every stage
    #[arg(long, value_name = "BUDGET", default_value = "small")]
    budget: BudgetName,
}

#[derive(Clone, Copy, ValueEnum)]
enum BudgetName {
    Small,
    Standard,
}

impl BudgetArgs {
    pub(super) fn budget(&self) -> Budget {
        match self.budget {
            BudgetName::Small => Budget::Small,
            BudgetName::Standard => Budget::Standard,
        }
    }
}

impl InitArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        for path in init(&self.folder, self.budget.budget())? {
            global.note(format!("wrote {}", shown(&path)));
        }
        global.note("edit them, or leave them as they are, and then:");
        global.note(format!("  parr salmon run {}", shown(&self.folder)));
        Ok(())
    }
}
