//! What all commands that train share: their flags.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use crate::model::lora::Projections;
use crate::settings::Auto;
use crate::train::config::{CheckpointConfig, LoraSettings, MemoryConfig, OptimizerConfig};

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

/// Reports where the adapter of a finished run is, and how to try it.
pub(super) fn note_adapter(global: &GlobalArgs, adapter: &Path, model: &str, out: &Path) {
    global.note(format!("the adapter is in {}; try it:", adapter.display()));
    global.note(format!("  parr chat --model {model} --adapter {}", out.display()));
}
