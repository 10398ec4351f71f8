//! `parr sft`: supervised fine-tuning of an adapter.

use std::io::IsTerminal;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::ModelArgs;
use crate::adapter::Adapter;
use crate::model::lora::Projections;
use crate::train::config::{Auto, Share, TrainOn};
use crate::train::{Control, Progress, Prospect, Sft, SftConfig, StepMetrics};

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

    /// Folder of the run
    #[arg(long, value_name = "DIR", required_unless_present = "print_config")]
    out: Option<PathBuf>,

    /// Settings; the flags below overrule them
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    /// Print a settings file that says what every setting does, and stop
    #[arg(long)]
    print_config: bool,

    /// Go on from the newest state in the folder, if there is one
    #[arg(long)]
    resume: bool,

    /// Start from this adapter instead of a fresh one; its rank and targets stay
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rank", "alpha", "targets"])]
    init_adapter: Option<PathBuf>,

    /// Rank of the factors
    #[arg(long, value_name = "N")]
    rank: Option<usize>,

    /// Numerator of the adapter's scale, alpha / rank
    #[arg(long, value_name = "NUMBER")]
    alpha: Option<f32>,

    /// Projections that get an adapter: all, or some of q,k,v,o,gate,up,down
    #[arg(long, value_name = "LIST")]
    targets: Option<Projections>,

    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,

    /// Optimizer steps
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<usize>,

    /// How often each row is seen
    #[arg(long, value_name = "NUMBER")]
    epochs: Option<f64>,

    /// Sequences of a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Tokens a row may have; what lies behind them is cut off
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Rows set aside to measure on: a count, or a fraction such as 0.1
    #[arg(long, value_name = "SHARE")]
    held_out: Option<Share>,

    /// Steps between measurements
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u64>,

    /// Steps between saved states
    #[arg(long, value_name = "N")]
    save_every: Option<u64>,

    /// Learn from every token, not from what the assistant says alone
    #[arg(long)]
    train_on_all: bool,

    /// Device memory the run may use, in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,

    /// Everything random follows from it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SftArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.print_config {
            std::io::stdout().lock().write_all(SftConfig::SAMPLE.as_bytes())?;
            return Ok(());
        }
        let config = self.settings()?;
        let (Some(data), Some(out)) = (&self.data, &self.out) else {
            return Err(CliError::Usage("--data and --out are needed".to_owned()));
        };
        let (_device, model) = self.model.open(global)?;
        let init =
            self.init_adapter.as_deref().map(|path| Adapter::open(path, model.config())).transpose()?;
        let sft = Sft {
            model: &model,
            data,
            held_out: self.held_out_data.as_deref(),
            init: init.as_ref(),
            out,
            config: &config,
            resume: self.resume,
        };
        let mut screen = Screen { global, bar: None, steps: 0 };
        let done = interruptible(|token| {
            let control = Control::new(token);
            let screen = std::cell::RefCell::new(&mut screen);
            sft.run(&control, &mut |prospect| screen.borrow_mut().announce(prospect), &mut |progress| {
                screen.borrow_mut().show(progress)
            })
        });
        if let Some(bar) = screen.bar.take() {
            bar.finish_and_clear();
        }
        match done? {
            Some(adapter) => {
                global.note(format!("the adapter is in {}; try it:", adapter.display()));
                global.note(format!("  parr chat --model {} --adapter {}", self.model.model, out.display()));
                Ok(())
            }
            None => {
                global.note("stopped, with the state saved; --resume goes on");
                Err(CliError::Interrupted)
            }
        }
    }

    /// The settings of the file, with the flags over them.
    fn settings(&self) -> Result<SftConfig, CliError> {
        let mut config = match &self.config {
            Some(path) => SftConfig::read(path)?,
            None => SftConfig::default(),
        };
        fn set<T: Clone>(place: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *place = value.clone();
            }
        }
        set(&mut config.lora.rank, &self.rank);
        set(&mut config.lora.alpha, &self.alpha);
        set(&mut config.lora.targets, &self.targets);
        set(&mut config.optimizer.learning_rate, &self.lr);
        set(&mut config.steps, &self.steps.map(Auto::Fixed));
        if let Some(epochs) = self.epochs {
            config.epochs = epochs;
            config.steps = Auto::Auto;
        }
        set(&mut config.batch.sequences, &self.batch);
        set(&mut config.data.max_tokens, &self.max_tokens);
        set(&mut config.data.train_on, &self.train_on_all.then_some(TrainOn::All));
        set(&mut config.evaluation.held_out, &self.held_out);
        set(&mut config.evaluation.every, &self.evaluate_every);
        set(&mut config.checkpoint.every, &self.save_every);
        set(&mut config.memory.budget_mib, &self.memory.map(Auto::Fixed));
        set(&mut config.seed, &self.seed);
        Ok(config)
    }
}

/// What a person sees of a run: a bar, or a line a step where nobody looks at a terminal.
struct Screen<'a> {
    global: &'a GlobalArgs,
    bar: Option<ProgressBar>,
    steps: u64,
}

impl Screen<'_> {
    fn announce(&mut self, prospect: &Prospect) {
        let Prospect { report, rows, held_out_rows, steps, parameters, plan, damaged } = prospect;
        for damage in damaged {
            self.global.note(format!("passed over: {damage}"));
        }
        self.global.note(format!("{report}; {rows} to learn from, {held_out_rows} to measure on"));
        let shape = plan.shape;
        self.global.note(format!(
            "{parameters} trainable values, {steps} steps; passes of up to {} tokens, {:.0} MB of device memory",
            shape.rows,
            plan.peak_bytes() as f64 / 1e6
        ));
        self.steps = *steps;
        if std::io::stderr().is_terminal() {
            let bar = self.global.bar(Some(*steps), "{bar:30} step {pos}/{len}, {msg}, {eta} left");
            self.bar = Some(bar);
        }
    }

    fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Resumed(step) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(step);
                    // Time left is judged by the steps of this process.
                    bar.reset_eta();
                }
                self.say(format!("going on after step {step}"));
            }
            Progress::Measured(metrics) => {
                self.say(format!("before the first step: held-out loss {:.4}", metrics.loss))
            }
            Progress::Step(metrics) => self.step(metrics),
            Progress::Saved(_) => {}
        }
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let StepMetrics { step, loss, grad_norm, tokens_per_second, step_seconds, .. } = metrics;
        let summary = format!("loss {loss:.4}, {tokens_per_second:.1} tok/s");
        match &self.bar {
            Some(bar) => {
                bar.set_message(summary);
                bar.set_position(*step);
            }
            None => {
                let left = (self.steps - step) as f64 * step_seconds;
                let steps = self.steps;
                self.say(format!(
                    "step {step}/{steps}: {summary}, gradient norm {grad_norm:.3}, {left:.0} s left"
                ));
            }
        }
        if let Some(loss) = metrics.eval_loss {
            let apart = metrics.logprob_distance.unwrap_or(0.0);
            self.say(format!(
                "after step {step}: held-out loss {loss:.4}; generation {apart:.1e} from training"
            ));
        }
    }

    fn say(&self, text: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.global.note(text)),
            None => self.global.note(text),
        }
    }
}
