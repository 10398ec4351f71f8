//! `parr salmon status`: the status of each stage.

use std::io::Write;

use clap::Args;

use super::{FolderArgs, shown};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::terminal;
use parr::format::Checkpoint;
use parr::hub;
use parr::salmon::status;

const EXAMPLES: &str = "\
Examples:
  parr salmon status runs/first";

/// Print the status of each stage, and the inputs that changed
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    folder: FolderArgs,
}

impl StatusArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        let config = self.folder.settings()?;
        let base = Checkpoint::open(&hub::resolve(&config.model)?)?.content_hash()?;
        let mut table = Table::new(&["stage", "status", "folder"]);
        for (stage, status, folder) in status(&self.folder.folder, &config, &base)? {
            let folder = folder.filter(|path| path.is_dir()).map(|path| shown(&path));
            table.row([stage.to_string(), status.to_string(), folder.unwrap_or_default()]);
        }
        Ok(write!(terminal::stdout(), "{table}")?)
    }
}
