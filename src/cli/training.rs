//! What all commands that train share: their flags, and what a person sees of a run.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use crate::model::lora::Projections;
use crate::settings::Auto;
use crate::train::config::{CheckpointConfig, LoraSettings, MemoryConfig, OptimizerConfig};
use crate::train::{Control, Plan, Progress, StepMetrics};

/// Flags of every run.
#[derive(Args)]
pub(super) struct RunArgs {
    /// Folder of the run
    #[arg(long, value_name = "DIR", required_unless_present = "print_config")]
    out: Option<PathBuf>,

    /// Settings; the flags below overrule them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print a settings file that says what every setting does, and stop
    #[arg(long)]
    print_config: bool,

    /// Go on from the newest state in the folder, if there is one
    #[arg(long)]
    pub resume: bool,

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

    /// Steps between measurements
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u64>,

    /// Steps between saved states
    #[arg(long, value_name = "N")]
    save_every: Option<u64>,

    /// Device memory the run may use, in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,

    /// Everything random follows from it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// The settings that those flags are about, in the settings of a command.
pub(super) struct Knobs<'a> {
    pub seed: &'a mut u64,
    pub epochs: &'a mut f64,
    pub steps: &'a mut Auto,
    pub lora: &'a mut LoraSettings,
    pub optimizer: &'a mut OptimizerConfig,
    /// None where there is nothing to measure on.
    pub evaluate_every: Option<&'a mut u64>,
    pub checkpoint: &'a mut CheckpointConfig,
    pub memory: &'a mut MemoryConfig,
}

/// Lets a flag that was given overrule a setting.
pub(super) fn set<T: Clone>(place: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        *place = value.clone();
    }
}

/// Prints a settings file.
pub(super) fn print_sample(sample: &str) -> Result<(), CliError> {
    Ok(std::io::stdout().lock().write_all(sample.as_bytes())?)
}

impl RunArgs {
    /// Prints `sample` if that is all that is wanted.
    pub fn printed(&self, sample: &str) -> Result<bool, CliError> {
        if self.print_config {
            print_sample(sample)?;
        }
        Ok(self.print_config)
    }

    /// The folder of the run.
    pub fn out(&self) -> Result<&PathBuf, CliError> {
        self.out.as_ref().ok_or_else(|| CliError::Usage("--out is needed".to_owned()))
    }

    /// Fails for flags that shape a fresh adapter where there is one already.
    pub fn check_init(&self, init: bool) -> Result<(), CliError> {
        let shaped = self.rank.is_some() || self.alpha.is_some() || self.targets.is_some();
        if init && shaped {
            let reason = "an adapter to start from keeps its shape: leave out --rank, --alpha and --targets";
            return Err(CliError::Usage(reason.to_owned()));
        }
        Ok(())
    }

    /// Puts the flags over the settings.
    pub fn apply(&self, knobs: Knobs<'_>) {
        set(knobs.seed, &self.seed);
        set(knobs.steps, &self.steps.map(Auto::Fixed));
        if let Some(epochs) = self.epochs {
            *knobs.epochs = epochs;
            *knobs.steps = Auto::Auto;
        }
        set(&mut knobs.lora.rank, &self.rank);
        set(&mut knobs.lora.alpha, &self.alpha);
        set(&mut knobs.lora.targets, &self.targets);
        set(&mut knobs.optimizer.learning_rate, &self.lr);
        if let Some(every) = knobs.evaluate_every {
            set(every, &self.evaluate_every);
        }
        set(&mut knobs.checkpoint.every, &self.save_every);
        set(&mut knobs.memory.budget_mib, &self.memory.map(Auto::Fixed));
    }
}

/// What is ahead of a run.
pub(super) struct Ahead<'a> {
    /// What it learns from, in words.
    pub data: String,
    /// None where the first step will tell.
    pub steps: Option<u64>,
    pub parameters: usize,
    pub plan: &'a Plan,
    pub damaged: &'a [String],
}

/// What a run tells while it goes on.
pub(super) enum Told<'a> {
    Ahead(Ahead<'a>),
    Progress(Progress<'a>),
    /// How many steps there will be, after all.
    Steps(u64),
    /// A step is done, in so many seconds.
    Step {
        step: u64,
        summary: String,
        seconds: f64,
    },
    /// Something to read.
    Text(String),
}

/// Runs `work` under a screen that hears what it tells, until it ends or ctrl-C.
pub(super) fn watched<T, E: Into<CliError>>(
    global: &GlobalArgs,
    work: impl FnOnce(&Control, &mut dyn FnMut(Told<'_>)) -> Result<T, E>,
) -> Result<T, CliError> {
    let mut screen = Screen::new(global);
    let done = interruptible(|token| work(&Control::new(token), &mut |told| screen.hear(told)));
    screen.clear();
    done.map_err(Into::into)
}

/// What a person sees of a run: a bar, or a line a step where nobody looks at a terminal.
pub(super) struct Screen<'a> {
    global: &'a GlobalArgs,
    bar: Option<ProgressBar>,
    steps: u64,
}

impl<'a> Screen<'a> {
    pub(super) fn new(global: &'a GlobalArgs) -> Self {
        Screen { global, bar: None, steps: 0 }
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    pub(super) fn hear(&mut self, told: Told<'_>) {
        match told {
            Told::Ahead(ahead) => self.announce(&ahead),
            Told::Progress(progress) => self.show(progress),
            Told::Steps(steps) => self.expect(steps),
            Told::Step { step, summary, seconds } => self.advance(step, summary, seconds),
            Told::Text(text) => self.say(text),
        }
    }

    fn announce(&mut self, ahead: &Ahead<'_>) {
        let Ahead { data, steps, parameters, plan, damaged } = ahead;
        for damage in *damaged {
            self.global.note(format!("passed over: {damage}"));
        }
        self.global.note(data);
        let shape = plan.shape;
        let count = steps.map_or("as many as fit".to_owned(), |steps| steps.to_string());
        self.global.note(format!(
            "{parameters} trainable values, {count} steps; passes of up to {} tokens, {:.0} MB of device memory",
            shape.rows,
            plan.peak_bytes() as f64 / 1e6
        ));
        if std::io::stderr().is_terminal() {
            self.bar = Some(self.global.bar(None, "{bar:30} step {pos}/{len}, {msg}, {eta} left"));
        }
        if let Some(steps) = *steps {
            self.expect(steps);
        }
    }

    fn expect(&mut self, steps: u64) {
        self.steps = steps;
        if let Some(bar) = &self.bar {
            bar.set_length(steps);
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
                let figures = figures(&metrics.objective);
                self.say(format!("before the first step: held-out loss {:.4}{figures}", metrics.loss))
            }
            Progress::Step(metrics) => self.step(metrics),
            Progress::Saved(_) => {}
        }
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let StepMetrics { step, loss, grad_norm, tokens_per_second, step_seconds, .. } = metrics;
        let summary = format!("loss {loss:.4}, {tokens_per_second:.1} tok/s");
        let summary = match &self.bar {
            Some(_) => summary,
            None => format!("{summary}, gradient norm {grad_norm:.3}"),
        };
        self.advance(*step, summary, *step_seconds);
        if let Some(loss) = metrics.eval_loss {
            let apart =
                metrics.logprob_distance.map(|apart| format!("; generation {apart:.1e} from training"));
            let figures = figures(&metrics.held_out);
            self.say(format!(
                "after step {step}: held-out loss {loss:.4}{figures}{}",
                apart.unwrap_or_default()
            ));
        }
    }

    fn advance(&self, step: u64, summary: String, seconds: f64) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(summary);
                bar.set_position(step);
            }
            None => {
                let left = self.steps.saturating_sub(step) as f64 * seconds;
                let steps = if self.steps > 0 { format!("/{}", self.steps) } else { String::new() };
                self.say(format!("step {step}{steps}: {summary}, {left:.0} s left"));
            }
        }
    }

    fn say(&self, text: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.global.note(text)),
            None => self.global.note(text),
        }
    }
}

/// How many held-out pairs are right, where the objective has pairs.
fn figures(held_out: &[(String, f64)]) -> String {
    let accuracy =
        held_out.iter().find(|(name, _)| name == "eval/accuracy" || name == "eval/rewards/accuracies");
    accuracy.map(|(_, part)| format!(", {:.1}% of pairs right", 100.0 * part)).unwrap_or_default()
}

/// Says where the adapter of a run is that ended, and how to try it; or that the run was stopped.
pub(super) fn told_adapter(
    global: &GlobalArgs,
    adapter: Option<&Path>,
    model: &str,
    out: &Path,
) -> Result<(), CliError> {
    let Some(adapter) = adapter else {
        global.note("stopped, with the state saved; --resume goes on");
        return Err(CliError::Interrupted);
    };
    global.note(format!("the adapter is in {}; try it:", adapter.display()));
    global.note(format!("  parr chat --model {model} --adapter {}", out.display()));
    Ok(())
}
