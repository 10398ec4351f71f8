//! Flags that all training commands share.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::screen::{Screen, watched};
use super::terminal;
use parr::model::lora::Projections;
use parr::output;
use parr::settings::Auto;
use parr::train::config::{CheckpointConfig, LoraSettings, MemoryConfig, OptimizerConfig};
use parr::train::{Control, Event};

/// Flags of every training run.
#[derive(Args)]
pub(super) struct RunArgs {
    /// Folder of the run; it is created if it does not exist
    #[arg(long, value_name = "DIR", required_unless_present = "print_config")]
    out: Option<PathBuf>,

    /// Settings file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print a settings file with every default explained, and stop
    #[arg(long)]
    print_config: bool,

    /// Resume from the newest state in the folder, if there is one
    #[arg(long)]
    pub resume: bool,

    /// With --resume, take no further step: write the adapter of the newest state
    #[arg(long, requires = "resume")]
    finish: bool,

    /// Rank of the adapter
    #[arg(long, value_name = "N")]
    rank: Option<usize>,

    /// LoRA alpha: the adapter's output is scaled by alpha / rank
    #[arg(long, value_name = "NUMBER")]
    alpha: Option<f32>,

    /// Projections that get LoRA factors: all, or a list of q,k,v,o,gate,up,down,in,out [default: all]
    #[arg(long, value_name = "LIST")]
    targets: Option<Projections>,

    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,

    /// Number of steps [default: derived from --epochs]
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<usize>,

    /// Passes over the data; 0.5 uses half of the data once
    #[arg(long, value_name = "NUMBER")]
    epochs: Option<f64>,

    /// Steps between evaluations on held-out data [default: 50]
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u64>,

    /// Steps between saved states; 0 saves only at the end
    #[arg(long, value_name = "N")]
    save_every: Option<u64>,

    /// Most device memory for the run, in MiB [default: what the device allows]
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,

    /// Random seed [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// The settings of a command that the flags override.
pub(super) struct Knobs<'a> {
    pub seed: &'a mut u64,
    pub epochs: &'a mut f64,
    pub steps: &'a mut Auto,
    pub lora: &'a mut LoraSettings,
    pub optimizer: &'a mut OptimizerConfig,
    /// None if the command has no held-out data.
    pub evaluate_every: Option<&'a mut u64>,
    pub checkpoint: &'a mut CheckpointConfig,
    pub memory: &'a mut MemoryConfig,
}

/// Replaces a setting by the flag's value, if the flag was given.
pub(super) fn set<T: Clone>(place: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        *place = value.clone();
    }
}

/// Prints a settings file.
pub(super) fn print_sample(sample: &str) -> Result<(), CliError> {
    Ok(terminal::stdout().write_all(sample.as_bytes())?)
}

impl RunArgs {
    /// Prints `sample` if --print-config was given, and returns whether it was.
    pub fn printed(&self, sample: &str) -> Result<bool, CliError> {
        if self.print_config {
            print_sample(sample)?;
        }
        Ok(self.print_config)
    }

    /// As [`watched`], and ends the run at its newest state if --finish was given.
    pub fn watched<T, E: Into<CliError>>(
        &self,
        screen: Screen<'_>,
        work: impl FnOnce(&Control, &mut dyn FnMut(Event<'_>)) -> Result<T, E>,
    ) -> Result<T, CliError> {
        watched(screen, |control, on_event| {
            if self.finish {
                control.finish();
            }
            work(control, on_event)
        })
    }

    /// The folder of the run.
    pub fn out(&self) -> Result<&PathBuf, CliError> {
        self.out.as_ref().ok_or_else(|| CliError::Usage("--out is needed".to_owned()))
    }

    /// Returns an error for flags that shape a fresh adapter if there is one to start from, and for one that the
    /// run would replace.
    pub fn check_init(&self, init: Option<&Path>) -> Result<(), CliError> {
        if let (Some(init), Some(out)) = (init, &self.out) {
            let trained = out.join("adapter");
            output::not_an_input(&trained, &[init, &init.join("adapter")])
                .map_err(CliError::file(&trained))?;
        }
        let init = init.is_some();
        let shaped = self.rank.is_some() || self.alpha.is_some() || self.targets.is_some();
        if init && shaped {
            let reason =
                "the adapter to start from has a fixed shape: leave out --rank, --alpha and --targets";
            return Err(CliError::Usage(reason.to_owned()));
        }
        Ok(())
    }

    /// Overrides the settings by the flags.
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
