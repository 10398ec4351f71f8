//! `parr reward train`: a reward model from judged replies.

use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::adapter::Adapter;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::open::ModelArgs;
use crate::cli::screen::{Screen, watched};
use crate::cli::training::{Knobs, RunArgs, set};
use crate::reward::{Factors, RewardConfig, RewardTraining};
use crate::settings::Settings;

const LONG_ABOUT: &str = "\
Trains a reward model on replies that a judge compared: a LoRA adapter with a scalar head, on a frozen,
quantized base. In each pass every comparison gets another random list of principles, some of them
negated, and the one under which the replies differ most decides which of them should score more; so the
model has to read the list (SALMON, arXiv 2310.05910). Prompts are held out, and measured on without noise.

With --preferences it learns plain preferences without principles instead: a start for --init.

DIR holds the settings (reward.toml), the metrics (metrics.jsonl, and event files for TensorBoard), states
to resume from (checkpoints/) and in the end the reward model (adapter/), a PEFT directory with
reward_head.safetensors and a card in parr.json. Ctrl-C saves a state and stops; --resume goes on from the
newest, also after a crash, and ends with the same bits as a run that was never interrupted.";

const EXAMPLES: &str = "\
Examples:
  parr reward train --comparisons judged.jsonl --principles reward --out runs/reward
  parr reward train --comparisons a.jsonl b.jsonl --principles reward style --out runs/both --use-rest
  parr reward train --comparisons judged.jsonl --principles style --by-check --out runs/style
  parr reward train --preferences hh.jsonl --out runs/start --steps 500
  parr reward train --comparisons judged.jsonl --init runs/start --out runs/reward --f16
  parr reward train --comparisons judged.jsonl --out runs/reward --resume
  parr reward train --print-config > reward.toml        every setting, explained
  parr reward eval --reward runs/reward --comparisons judged.jsonl

Preferences, one JSON object a line:
  {\"prompt\": \"Name a river.\", \"chosen\": \"The Loire.\", \"rejected\": \"A river is water.\"}";

/// Train a reward model on judged replies
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    run: RunArgs,

    /// Start from this adapter, and its head if it has one, instead of a fresh one
    #[arg(long, value_name = "DIR")]
    init: Option<PathBuf>,

    /// Pairs of a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Tokens an input may have; the reply is cut first, principles never
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// The part of prompts that is measured on and not trained on, such as 0.1
    #[arg(long, value_name = "PART")]
    held_out: Option<f64>,

    /// Use comparisons that lack a verdict under some principle with the principles they have
    #[arg(long)]
    use_rest: bool,

    /// Write the adapter's factors as f16: half the size
    #[arg(long)]
    f16: bool,
}

impl TrainArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.run.printed(RewardConfig::SAMPLE)? {
            return Ok(());
        }
        self.run.check_init(self.init.is_some())?;
        let config = self.settings()?;
        let out = self.run.out()?;
        let data = self.data.read()?;
        let (_device, model) = self.model.open(global)?;
        let init = self.init.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let mut training = RewardTraining::new(&model, &data, out).config(&config).resume(self.run.resume);
        if let (Some(adapter), Some(path)) = (&init, &self.init) {
            training = training.init(adapter, path.display().to_string());
        }
        let adapter = watched(Screen::new(global), |control, on_event| training.run(control, on_event))?;
        let (model, out) = (&self.model.model, out.display());
        global.note(format!("the reward model is in {}; ask it:", adapter.display()));
        global.note(format!("  parr score replies.jsonl --model {model} --reward {out}"));
        Ok(())
    }

    /// The settings of the file, with the flags over them.
    fn settings(&self) -> Result<RewardConfig, CliError> {
        let mut config = match &self.run.config {
            Some(path) => RewardConfig::read(path)?,
            None => RewardConfig::default(),
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
        set(&mut config.batch.pairs, &self.batch);
        set(&mut config.limits.tokens, &self.max_tokens);
        set(&mut config.aggregate.held_out, &self.held_out);
        if self.use_rest {
            config.aggregate.missing = crate::preferences::Missing::UseRest;
        }
        if self.f16 {
            config.factors = Factors::F16;
        }
        Ok(config)
    }
}
