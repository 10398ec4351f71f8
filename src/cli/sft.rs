//! `parr sft`: supervised fine-tuning of an adapter.

use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::open::ModelArgs;
use super::screen::Screen;
use super::training::{Knobs, RunArgs, note_adapter, set};
use parr::adapter::Adapter;
use parr::settings::Settings;
use parr::settings::Share;
use parr::train::config::TrainOn;
use parr::train::{Sft, SftConfig};

const LONG_ABOUT: &str = "\
Trains a LoRA adapter on example replies, on a frozen, quantized base, on the
GPU.

Files in DIR:
  sft.toml        the settings
  metrics.jsonl   the metrics, also as event files for TensorBoard
  checkpoints/    states to resume from
  adapter/        the trained adapter, a PEFT directory, at the end

`parr chat --adapter DIR` and Hugging Face's peft both load the adapter.

Ctrl-C saves a state and stops. --resume continues from the newest state, also
after a crash. The results are bit-identical to those of an uninterrupted run.";

const EXAMPLES: &str = "\
Examples:
  parr sft --data examples/harbour.jsonl --out runs/harbour --steps 60
  parr sft --data rows.jsonl --out runs/rows --rank 8 --targets q,v --lr 1e-4
  parr sft --data rows.jsonl --out runs/rows --resume
  parr sft --print-config > sft.toml        every setting, explained
  parr sft --config sft.toml --data rows.jsonl --out runs/rows
  parr chat --adapter runs/harbour

Rows of the data, one JSON object per line:
  {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Ahoy!\"}]}
  {\"prompt\": \"Name a river.\", \"response\": \"The Loire.\"}
  {\"ids\": [1, 5, 9], \"loss_mask\": [0, 1, 1]}";

/// Fine-tune a LoRA adapter on rows of text
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct SftArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Training data, in JSON Lines
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    data: Option<PathBuf>,

    /// Evaluation data, in JSON Lines, instead of held-out rows of --data
    #[arg(long, value_name = "FILE")]
    held_out_data: Option<PathBuf>,

    #[command(flatten)]
    run: RunArgs,

    /// Adapter to start from, instead of a fresh one; its rank and targets stay
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,

    /// Sequences per step [default: 8]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Most tokens of a row; longer rows are cut off [default: 1024]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Rows held out for evaluation: a count such as 20, or a fraction [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    held_out: Option<Share>,

    /// Train on every token, not only on the assistant's replies
    #[arg(long)]
    train_on_all: bool,
}

impl SftArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.run.printed(SftConfig::SAMPLE)? {
            return Ok(());
        }
        self.run.check_init(self.init_adapter.as_deref())?;
        let config = self.settings()?;
        config.validate()?;
        let out = self.run.out()?;
        let data = self.data.as_ref().ok_or_else(|| CliError::Usage("--data is needed".to_owned()))?;
        let (_device, model) = self.model.open(global)?;
        let init =
            self.init_adapter.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let mut sft = Sft::new(&model, data, out).config(&config).init(init.as_ref()).resume(self.run.resume);
        if let Some(path) = &self.held_out_data {
            sft = sft.held_out(path);
        }
        let adapter =
            self.run.watched(Screen::new(global), |control, on_event| sft.run(control, on_event))?;
        note_adapter(global, &adapter, &self.model.model, out);
        Ok(())
    }

    /// The settings of the file, overridden by the flags.
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
