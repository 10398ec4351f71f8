//! `parr dpo`: a policy from judged replies, without a reward model.

use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::open::ModelArgs;
use super::reward::DataArgs;
use super::screen::{Screen, watched};
use super::training::{Knobs, RunArgs, note_adapter, set};
use crate::adapter::Adapter;
use crate::align::{DpoConfig, DpoTraining};
use crate::settings::Settings;

const LONG_ABOUT: &str = "\
Teaches a model which of two replies to prefer, straight from judged replies: direct preference
optimization (arXiv 2305.18290). No reward model and no sampling, so it is the cheapest way to align; in
return it learns one set of principles for good, while a reward model that reads them can be steered anew.

Of --comparisons a list of principles is drawn for each pair, none negated, and the one under which the
replies differ most decides. --preferences are learned as they are. Prompts are held out, and measured on.

DIR holds the settings (dpo.toml), the metrics (metrics.jsonl, and event files for TensorBoard), states to
resume from (checkpoints/) and in the end the adapter (adapter/), a PEFT directory. Ctrl-C saves a state and
stops; --resume goes on from the newest, and ends with the same bits as a run that was never interrupted.";

const EXAMPLES: &str = "\
Examples:
  parr dpo --comparisons judged.jsonl --principles reward --out runs/dpo
  parr dpo --comparisons judged.jsonl --principles style --by-check --out runs/style --steps 40
  parr dpo --preferences hh.jsonl --out runs/dpo --init-adapter runs/sft --beta 0.05
  parr dpo --preferences hh.jsonl --out runs/dpo --resume
  parr dpo --print-config > dpo.toml        every setting, explained
  parr chat --adapter runs/dpo

Preferences, one JSON object a line:
  {\"prompt\": \"Name a river.\", \"chosen\": \"The Loire.\", \"rejected\": \"A river is water.\"}";

/// Align a model to preferences without a reward model
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct DpoArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    run: RunArgs,

    /// Start from this adapter, and stay near it; its rank and targets stay
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,

    /// How dear it is to leave the start
    #[arg(long, value_name = "NUMBER")]
    beta: Option<f64>,

    /// Pairs of a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Tokens a reply may have with its prompt; pairs with a longer one are left out
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// The part of prompts that is measured on and not learned from, such as 0.1
    #[arg(long, value_name = "PART")]
    held_out: Option<f64>,
}

impl DpoArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.run.printed(DpoConfig::SAMPLE)? {
            return Ok(());
        }
        self.run.check_init(self.init_adapter.is_some())?;
        let config = self.settings()?;
        let out = self.run.out()?;
        let data = self.data.read()?;
        let (_device, model) = self.model.open(global)?;
        let init =
            self.init_adapter.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let training = DpoTraining::new(&model, &data, out).config(&config);
        let training = training.init(init.as_ref()).resume(self.run.resume);
        let adapter = watched(Screen::new(global), |control, on_event| training.run(control, on_event))?;
        note_adapter(global, &adapter, &self.model.model, out);
        Ok(())
    }

    /// The settings of the file, with the flags over them.
    fn settings(&self) -> Result<DpoConfig, CliError> {
        let mut config = match &self.run.config {
            Some(path) => DpoConfig::read(path)?,
            None => DpoConfig::default(),
        };
        self.run.apply(Knobs {
            seed: &mut config.seed,
            epochs: &mut config.epochs,
            steps: &mut config.steps,
            lora: &mut config.lora,
            optimizer: &mut config.optimizer,
            evaluate_every: Some(&mut config.evaluation.every),
            checkpoint: &mut config.checkpoint,
            memory: &mut config.memory,
        });
        set(&mut config.beta, &self.beta);
        set(&mut config.batch.pairs, &self.batch);
        set(&mut config.max_tokens, &self.max_tokens);
        set(&mut config.aggregate.held_out, &self.held_out);
        Ok(config)
    }
}
