//! `parr sft`: supervised fine-tuning of an adapter.

use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::open::ModelArgs;
use super::screen::{Screen, watched};
use super::training::{Knobs, RunArgs, note_adapter, set};
use crate::adapter::Adapter;
use crate::settings::Settings;
use crate::settings::Share;
use crate::train::config::TrainOn;
use crate::train::{Sft, SftConfig};

const LONG_ABOUT: &str = "\
Teaches a model by examples: trains a LoRA adapter on a frozen, quantized base, on the GPU.

DIR holds the settings (sft.toml), the metrics (metrics.jsonl, and event files for TensorBoard), states
to resume from (checkpoints/) and in the end the adapter (adapter/), a PEFT directory that `parr chat
--adapter DIR` and Hugging Face's peft both load. Ctrl-C saves a state and stops; --resume goes on from
the newest, also after a crash, and ends with the same bits as a run that was never interrupted.";

const EXAMPLES: &str = "\
Examples:
  parr sft --data examples/harbour.jsonl --out runs/harbour --steps 60
  parr sft --data rows.jsonl --out runs/rows --rank 8 --targets q,v --lr 1e-4
  parr sft --data rows.jsonl --out runs/rows --resume
  parr sft --print-config > sft.toml        every setting, explained
  parr sft --config sft.toml --data rows.jsonl --out runs/rows
  parr chat --adapter runs/harbour

Rows of the data, one JSON object a line:
  {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Ahoy!\"}]}
  {\"prompt\": \"Name a river.\", \"response\": \"The Loire.\"}
  {\"ids\": [1, 5, 9], \"loss_mask\": [0, 1, 1]}";

/// Fine-tune a LoRA adapter on rows of text
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct SftArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// JSON Lines to learn from
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    data: Option<PathBuf>,

    /// JSON Lines to measure on, instead of some rows of the data
    #[arg(long, value_name = "FILE")]
    held_out_data: Option<PathBuf>,

    #[command(flatten)]
    run: RunArgs,

    /// Start from this adapter instead of a fresh one; its rank and targets stay
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,

    /// Sequences of a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Tokens a row may have; what lies behind them is cut off
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Rows set aside to measure on: a count, or a fraction such as 0.1
    #[arg(long, value_name = "SHARE")]
    held_out: Option<Share>,

    /// Learn from every token, not from what the assistant says alone
    #[arg(long)]
    train_on_all: bool,
}

impl SftArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.run.printed(SftConfig::SAMPLE)? {
            return Ok(());
        }
        self.run.check_init(self.init_adapter.is_some())?;
        let config = self.settings()?;
        let out = self.run.out()?;
        let data = self.data.as_ref().ok_or_else(|| CliError::Usage("--data is needed".to_owned()))?;
        let (_device, model) = self.model.open(global)?;
        let init =
            self.init_adapter.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let mut sft = Sft::new(&model, data, out).config(&config).init(init.as_ref()).resume(self.run.resume);
        if let Some(path) = &self.held_out_data {
            sft = sft.held_out(path);
        }
        let adapter = watched(Screen::new(global), |control, on_event| sft.run(control, on_event))?;
        note_adapter(global, &adapter, &self.model.model, out);
        Ok(())
    }

    /// The settings of the file, with the flags over them.
    fn settings(&self) -> Result<SftConfig, CliError> {
        let mut config = match &self.run.config {
            Some(path) => SftConfig::read(path)?,
            None => SftConfig::default(),
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
        set(&mut config.batch.sequences, &self.batch);
        set(&mut config.data.max_tokens, &self.max_tokens);
        set(&mut config.data.train_on, &self.train_on_all.then_some(TrainOn::All));
        set(&mut config.evaluation.held_out, &self.held_out);
        Ok(config)
    }
}
