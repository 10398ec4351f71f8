//! `parr salmon run`: runs every stage that is not done.

use std::io::Write;

use clap::Args;

use super::init::FreshArgs;
use super::report::{PAGE, check, write};
use super::screen::Screen;
use super::{FolderArgs, shown};
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::interrupt::interruptible;
use crate::cli::open::ModelArgs;
use crate::cli::terminal;
use parr::Settings;
use parr::salmon::{Pipeline, PipelineConfig, PipelineReport, Stage, StageStatus};
use parr::train::Control;

const LONG_ABOUT: &str = "\
Runs every stage that is not done, from DIR/salmon.toml. Without that file,
`init` runs first.

Ctrl-C saves and stops. The same command resumes, also after a crash, and gives
bit-identical results to an uninterrupted run.

At the end, `report` writes DIR/report.html. The rates of each principle before
and after are printed, and some prompts with a reply before and after.";

const EXAMPLES: &str = "\
Examples:
  parr salmon run runs/first --principle 'Mention a bird.'
  parr salmon run runs/first && parr salmon status runs/first
  parr salmon run runs/all --budget small
  parr salmon run runs/style --reward reward-models/smollm2-style";

/// Run every stage that is not done
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    folder: FolderArgs,

    #[command(flatten)]
    fresh: FreshArgs,
}

impl RunArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if !self.folder.settings_file().exists() {
            self.fresh.init(&self.folder.folder, global)?;
        }
        let config = self.folder.settings()?;
        config.validate()?;
        check(&self.folder.folder.join(PAGE))?;
        let (_device, model) = ModelArgs::named(&config.model).open(global)?;
        let pipeline = Pipeline::new(&model, &self.folder.folder, &config);
        let mut screen = Screen::new(global);
        let made = interruptible(|token| pipeline.run(&Control::new(token), &mut |event| screen.show(event)));
        screen.clear();
        let made = made.map_err(CliError::from);
        if matches!(made, Err(CliError::Interrupted)) {
            global.note(format!("stopped; `parr salmon run {}` continues", shown(&self.folder.folder)));
        }
        let made = made?;
        for one in &made {
            let skipped = if one.status == StageStatus::Done { " (skipped)" } else { "" };
            global.note(format!("{}: {}{skipped}", one.stage, shown(&one.folder)));
        }
        self.report(&config, global)?;
        let folder = |stage| made.iter().find(|one| one.stage == stage).map(|one| &one.folder);
        if let (Some(reward), Some(report)) = (folder(Stage::Reward), folder(Stage::Evaluation)) {
            global.note(format!("evaluation: {}; score replies:", shown(&report.join("report.html"))));
            global.note(format!(
                "  parr score replies.jsonl --model {} --reward {} --principles reward",
                config.model,
                shown(reward)
            ));
        }
        if let Some(aligned) = folder(Stage::Align) {
            global.note("chat with the aligned model:");
            global.note(format!("  parr chat --model {} --adapter {}", config.model, shown(aligned)));
        }
        Ok(())
    }

    /// Writes the page on all stages, and prints what changed.
    fn report(&self, config: &PipelineConfig, global: &GlobalArgs) -> Result<(), CliError> {
        let report = PipelineReport::gather(&self.folder.folder, config)?;
        let page = self.folder.folder.join(PAGE);
        write(&report, &page)?;
        global.note(format!("all results on one page: {}", shown(&page)));
        // The work is done, so a closed standard output is no error.
        let _ = print(&report);
        Ok(())
    }
}

/// Prints the rates of each principle before and after, and some prompts with a reply before and after: from the
/// comparison if it was run, otherwise from the first rollout and the last.
fn print(report: &PipelineReport) -> std::io::Result<()> {
    let mut out = terminal::stdout();
    for change in report.changes() {
        let [before, after] = [change.before, change.after].map(|rate| 100.0 * rate.rate);
        let by = change.by.name();
        writeln!(out, "{}: {before:.0}% of replies before, {after:.0}% after (by the {by})", change.text)?;
    }
    for pair in report.replies().into_iter().take(SHOWN) {
        writeln!(out, "{}", pair.prompt.trim())?;
        for (what, reply) in [("before", pair.before), ("after", pair.after)] {
            writeln!(out, "  {what}: {}", reply.trim())?;
        }
    }
    Ok(())
}

/// Number of prompts that are printed.
const SHOWN: usize = 3;
