//! `parr dpo`: trains a policy on judged replies, without a reward model.

use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::open::ModelArgs;
use super::reward::DataArgs;
use super::screen::Screen;
use super::training::{Knobs, RunArgs, note_adapter, set};
use parr::adapter::Adapter;
use parr::align::{DpoConfig, DpoTraining};
use parr::settings::Settings;

const LONG_ABOUT: &str = "\
Trains a model directly on judged replies by direct preference optimization
(arXiv 2305.18290). It needs no reward model and no sampling, so it is the
cheapest way to align. The adapter learns one fixed set of principles. A reward
model, in contrast, reads its principles and can be given others later.

For each pair in --comparisons, a list of principles is drawn, none negated. The
principle under which the replies differ most decides the label. --preferences
are used as they are. Some prompts are held out for evaluation.

Files in DIR:
  dpo.toml        the settings
  metrics.jsonl   the metrics, also as event files for TensorBoard
  checkpoints/    states to resume from
  adapter/        the trained adapter, a PEFT directory, at the end

Ctrl-C saves a state and stops. --resume continues from the newest state, and
gives bit-identical results to an uninterrupted run.";

const EXAMPLES: &str = "\
Examples:
  parr dpo --comparisons judged.jsonl --principles reward --out runs/dpo
  parr dpo --comparisons judged.jsonl --principles style --by-check \\
      --out runs/style --steps 40
  parr dpo --preferences hh.jsonl --out runs/dpo --init-adapter runs/sft \\
      --beta 0.05
  parr dpo --preferences hh.jsonl --out runs/dpo --resume
  parr dpo --print-config > dpo.toml        every setting, explained
  parr chat --adapter runs/dpo

Preferences, one JSON object per line:
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

    /// Adapter to start from, which is then also the reference; its rank and targets stay
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,

    /// Strength of the penalty for moving away from the reference [default: 0.1]
    #[arg(long, value_name = "NUMBER")]
    beta: Option<f64>,

    /// Pairs per step [default: 16]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Most tokens of a reply with its prompt; longer pairs are left out [default: 512]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Fraction of prompts that is held out for evaluation [default: 0.1]
    #[arg(long, value_name = "PART")]
    held_out: Option<f64>,
}

impl DpoArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.run.printed(DpoConfig::SAMPLE)? {
            return Ok(());
        }
        self.run.check_init(self.init_adapter.as_deref())?;
        let config = self.settings()?;
        config.validate()?;
        let out = self.run.out()?;
        let data = self.data.read()?;
        let (_device, model) = self.model.open(global)?;
        let init =
            self.init_adapter.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let training = DpoTraining::new(&model, &data, out).config(&config);
        let training = training.init(init.as_ref()).resume(self.run.resume);
        let adapter =
            self.run.watched(Screen::new(global), |control, on_event| training.run(control, on_event))?;
        note_adapter(global, &adapter, &self.model.model, out);
        Ok(())
    }

    /// The settings of the file, overridden by the flags.
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
