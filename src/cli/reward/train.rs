//! `parr reward train`: trains a reward model on judged replies.

use std::path::{Path, PathBuf};

use clap::Args;

use super::DataArgs;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::open::ModelArgs;
use crate::cli::screen::Screen;
use crate::cli::training::{Knobs, RunArgs, set};
use parr::adapter::Adapter;
use parr::reward::{Factors, PointwiseConfig, RewardConfig, RewardTraining};
use parr::settings::Settings;

const LONG_ABOUT: &str = "\
Trains a reward model on replies that a judge compared. The reward model is a
LoRA adapter with a scalar head, on a frozen, quantized base.

In each pass, every comparison gets a new random list of principles, some of
them negated. The principle under which the replies differ most decides which
reply should score higher. So the model has to read the list (SALMON, arXiv
2310.05910). Some prompts are held out for evaluation, without label noise.

With --preferences, it learns plain preferences without principles instead. The
result is a start for --init.

With --labels, it learns a pointwise model: the score of a reply is the log-odds
that it keeps a principle. All principles of a reply are learnt in one pass.

Files in DIR:
  reward.toml     the settings
  metrics.jsonl   the metrics, also as event files for TensorBoard
  checkpoints/    states to resume from
  adapter/        the reward model at the end, a PEFT directory with
                  reward_head.safetensors and a card in parr.json

Ctrl-C saves a state and stops. --resume continues from the newest state, also
after a crash. The results are bit-identical to those of an uninterrupted run.";

const EXAMPLES: &str = "\
Examples:
  parr reward train --comparisons judged.jsonl --out runs/reward
  parr reward train --comparisons judged.jsonl --out runs/reward --resume
  parr reward train --comparisons a.jsonl b.jsonl --out runs/both \\
      --principles reward style --use-rest
  parr reward train --comparisons judged.jsonl --out runs/style \\
      --principles style --by-check
  parr reward train --preferences hh.jsonl --out runs/start --steps 500
  parr reward train --comparisons judged.jsonl --out runs/reward \\
      --init runs/start --f16
  parr reward train --labels labelled.jsonl --out runs/pointwise
  parr reward train --print-config > reward.toml        every setting, explained
  parr reward eval --reward runs/reward --comparisons judged.jsonl

Preferences, one JSON object per line:
  {\"prompt\": \"Name a river.\", \"chosen\": \"The Loire.\", \"rejected\": \"A river is water.\"}";

/// Train a reward model on judged replies
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    /// Labelled replies, as `parr reward factory` prints them; trains a pointwise model
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["comparisons", "preferences", "use_rest"])]
    labels: Vec<PathBuf>,

    #[command(flatten)]
    pub run: RunArgs,

    /// Adapter to start from, with its head if it has one, instead of a fresh one
    #[arg(long, value_name = "DIR")]
    pub init: Option<PathBuf>,

    /// Pairs per step [default: 16], or replies with --labels [default: 4]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,

    /// Most tokens of an input; the reply is cut first, the principles never [default: 1280, or 512 with --labels]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,

    /// Fraction of prompts that is held out for evaluation [default: 0.1, or 0.02 with --labels]
    #[arg(long, value_name = "PART")]
    pub held_out: Option<f64>,

    /// Keep comparisons without a verdict for some principle, and use their other principles
    #[arg(long)]
    use_rest: bool,

    /// Write the adapter's factors as f16, half the size of f32
    #[arg(long)]
    pub f16: bool,
}

impl TrainArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        let pointwise = !self.labels.is_empty();
        if self.run.printed(if pointwise { PointwiseConfig::SAMPLE } else { RewardConfig::SAMPLE })? {
            return Ok(());
        }
        if pointwise {
            return self.run_pointwise(&self.labels, global);
        }
        self.run.check_init(self.init.as_deref())?;
        let config = self.settings()?;
        config.validate()?;
        let out = self.run.out()?;
        let data = self.data.read()?;
        let (_device, model) = self.model.open(global)?;
        let init = self.init.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let mut training = RewardTraining::new(&model, &data, out).config(&config).resume(self.run.resume);
        if let (Some(adapter), Some(path)) = (&init, &self.init) {
            training = training.init(adapter, path.display().to_string());
        }
        let adapter =
            self.run.watched(Screen::new(global), |control, on_event| training.run(control, on_event))?;
        self.note_result(&adapter, out, global);
        Ok(())
    }

    /// Shows where the reward model is, and how to use it.
    pub(super) fn note_result(&self, adapter: &Path, out: &Path, global: &GlobalArgs) {
        let (model, out) = (&self.model.model, out.display());
        global.note(format!("the reward model is in {}; try it:", adapter.display()));
        global.note(format!("  parr score replies.jsonl --model {model} --reward {out}"));
    }

    /// The settings of the file, overridden by the flags.
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
            config.aggregate.missing = parr::preferences::Missing::UseRest;
        }
        if self.f16 {
            config.factors = Factors::F16;
        }
        Ok(config)
    }
}
