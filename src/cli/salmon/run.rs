//! `parr salmon run`: every stage that is not done.

use clap::Args;

use super::init::BudgetArgs;
use super::screen::Screen;
use super::{FolderArgs, shown};
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::interrupt::interruptible;
use crate::cli::open::ModelArgs;
use crate::pipeline::{Pipeline, Stage, Standing, init};
use crate::train::Control;

const LONG_ABOUT: &str = "\
Runs every stage that is not done, from DIR/salmon.toml; where there is none, `init` is run first. Ctrl-C
stops; the same command goes on, also after a crash, and ends with the same bits as a run that was never
interrupted.";

const EXAMPLES: &str = "\
Examples:
  parr salmon run runs/first
  parr salmon run runs/first && parr salmon status runs/first";

/// Run every stage that is not done
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    folder: FolderArgs,

    #[command(flatten)]
    budget: BudgetArgs,
}

impl RunArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if !self.folder.settings_file().exists() {
            for path in init(&self.folder.folder, self.budget.budget())? {
                global.note(format!("wrote {}", shown(&path)));
            }
        }
        let config = self.folder.settings()?;
        let (_device, model) = ModelArgs { model: config.model.clone(), quant: None }.open(global)?;
        let pipeline = Pipeline { model: &model, folder: &self.folder.folder, config: &config };
        let mut screen = Screen::new(global);
        let made = interruptible(|token| pipeline.run(&Control::new(token), &mut |event| screen.hear(event)));
        screen.clear();
        let Some(made) = made? else {
            global.note(format!("stopped; `parr salmon run {}` goes on", shown(&self.folder.folder)));
            return Err(CliError::Interrupted);
        };
        for one in &made {
            let stood = if one.stood == Standing::Done { " (was done)" } else { "" };
            global.note(format!("{}: {}{stood}", one.stage, shown(&one.folder)));
        }
        let folder = |stage| made.iter().find(|one| one.stage == stage).map(|one| &one.folder);
        if let (Some(reward), Some(report)) = (folder(Stage::Reward), folder(Stage::Evaluation)) {
            global.note(format!("what it learned: {}; ask it:", shown(&report.join("report.html"))));
            global.note(format!(
                "  parr score replies.jsonl --model {} --reward {} --principles reward",
                config.model,
                shown(reward)
            ));
        }
        Ok(())
    }
}
