//! `parr salmon report`: one page on all stages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{FolderArgs, shown};
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::output::OutputFile;
use parr::output::{self, Mark};
use parr::salmon::PipelineReport;

const LONG_ABOUT: &str = "\
Writes one page with the results of all stages in DIR. It shows the principles,
the consistency of the judge and the accuracy of the reward model. It also shows
the training curves of the policy, the comparison of steering methods, and
replies to the same prompts before and after training.

The page is made from the files of the stages; nothing is run. Stages that are
not done are left out.";

const EXAMPLES: &str = "\
Examples:
  parr salmon report runs/first
  parr salmon report runs/first --html first.html";

/// Write a page with the results of all stages
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// File for the page [default: report.html in DIR]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        let path = self.html.unwrap_or_else(|| self.folder.folder.join(PAGE));
        check(&path)?;
        let report = PipelineReport::gather(&self.folder.folder, &self.folder.settings()?)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or(Ok(()), fs::create_dir_all).map_err(CliError::file(&path))?;
        write(&report, &path)?;
        global.note(format!("wrote {}", shown(&path)));
        Ok(())
    }
}

/// Name of the page in the folder of a pipeline.
pub(super) const PAGE: &str = "report.html";

/// `Ok` if the page can be written to `path`.
pub(super) fn check(path: &Path) -> Result<(), CliError> {
    output::check(path, Mark::Page, &[]).map_err(CliError::file(path))
}

/// Writes the page, whole or not at all.
pub(super) fn write(report: &PipelineReport, path: &Path) -> Result<(), CliError> {
    let Some(page) = OutputFile::of(Some(path), Mark::Page, &[])? else { return Ok(()) };
    page.write(|file| file.write_all(report.to_html().as_bytes()))
}
