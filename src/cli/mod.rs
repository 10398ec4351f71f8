//! The `parr` program: one file per sub-command, holding its flags, its help and its run.
//!
//! Commands use only the library's public API, so an app can do everything that they do.
//! Results go to standard output; notes, progress and errors go to standard error.

mod adapter;
mod align;
mod attributes;
mod bench;
mod chat;
mod convert;
mod doctor;
mod dpo;
mod error;
mod generate;
mod input;
mod interrupt;
mod judge;
mod logprobs;
mod models;
mod open;
mod output;
mod perplexity;
mod plain;
mod preferences;
mod principles;
mod pull;
mod reward;
mod salmon;
mod sampling;
mod score;
mod screen;
mod self_align;
mod serve;
mod sft;
mod steer;
mod steering;
mod table;
mod template;
mod terminal;
mod tokenize;
mod training;
mod tune;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use parr::gpu::{Device, DeviceError, DeviceOptions, KernelFamily, Loads, Measurements};

const LONG_ABOUT: &str = "\
Runs and aligns quantized LLaMA-family models on any GPU that Vulkan, Metal or
DirectX 12 can reach. Software drivers work too.

A MODEL is a name that `parr pull` accepts, a GGUF file, a Hugging Face directory
(config.json with safetensors), or ollama:NAME[:TAG].";

const AFTER_LONG_HELP: &str = "\
First steps:
  parr pull smollm2            fetch a small model (98 MB)
  parr doctor                  check that this machine's GPU computes correctly
  parr chat                    chat with it
  parr generate 'Why is the sky blue?'

Exit codes: 0 success; 1 error or failed check; 2 wrong usage; 128 + the signal's
number after a signal: 130 for ctrl-C, 143 for SIGTERM, 129 for SIGHUP. All three
save what can be resumed; a second ctrl-C or SIGTERM ends the program at once.

Outputs: a command writes to a new path, or replaces a file or folder that parr
wrote. It refuses anything else, and its own inputs.

Environment variables:
  PARR_CACHE               folder of models, their hashes, compiled pipelines, and
                           which kernels are fastest
  PARR_GPU, PARR_KERNELS, PARR_LOADS, PARR_NO_TUNE, PARR_GPU_TIMEOUT
                           the same as --gpu, --kernels, --loads, --no-tune and
                           --gpu-timeout
  HF_ENDPOINT, HF_TOKEN    address of the Hugging Face hub, and its token";

#[derive(Parser)]
#[command(name = "parr", version, about = "Quantized language models on any GPU", long_about = LONG_ABOUT)]
#[command(after_long_help = AFTER_LONG_HELP, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the flags that every command accepts; it follows the command's own flags.
const EVERYWHERE: &str = "Options of every command";

/// Flags that every command accepts.
#[derive(Args)]
struct GlobalArgs {
    /// GPU to use: an index or part of a name, as `parr doctor --gpus` lists them
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_GPU", hide_env_values = true, value_name = "NAME|INDEX")]
    gpu: Option<String>,

    /// Kernel family to use [default: the one that suits the GPU]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_KERNELS", hide_env_values = true)]
    #[arg(value_name = "lane8|tiled", value_parser = kernel_family)]
    kernels: Option<KernelFamily>,

    /// Where kernels read weights [default: the one that suits the GPU]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_LOADS", hide_env_values = true)]
    #[arg(value_name = "buffers|textures", value_parser = loads)]
    loads: Option<Loads>,

    /// Use the kernels that suit the GPU by rule; neither measure them nor use measurements
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_NO_TUNE", hide_env_values = true)]
    #[arg(value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    no_tune: bool,

    /// Time that the GPU may take to answer, in addition to the time for its work, before it counts as lost
    /// [default: 10, and 20 for a software driver]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_GPU_TIMEOUT", hide_env_values = true)]
    #[arg(value_name = "SECONDS", value_parser = seconds)]
    gpu_timeout: Option<Duration>,

    /// Print only errors on standard error, no progress and no notes
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
}

/// Maximum number of seconds of --gpu-timeout: a day.
const MAX_TIMEOUT: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds| seconds > 0.0 && seconds <= MAX_TIMEOUT);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("expected a number of seconds above 0 and up to {MAX_TIMEOUT} (a day)"))
}

fn kernel_family(name: &str) -> Result<KernelFamily, String> {
    KernelFamily::from_name(name).ok_or_else(|| "expected lane8 or tiled".to_owned())
}

fn loads(name: &str) -> Result<Loads, String> {
    Loads::from_name(name).ok_or_else(|| "expected buffers or textures".to_owned())
}

impl GlobalArgs {
    /// The device that the flags select.
    fn device_options(&self) -> DeviceOptions {
        DeviceOptions {
            adapter: self.gpu.clone(),
            family: self.kernels,
            loads: self.loads,
            measurements: if self.no_tune { Measurements::Ignored } else { Measurements::Stored },
            timeout: self.gpu_timeout,
            ..DeviceOptions::default()
        }
    }

    /// Opens the device that the flags select.
    fn open_device(&self) -> Result<Device, DeviceError> {
        self.open_with(self.device_options())
    }

    fn open_with(&self, options: DeviceOptions) -> Result<Device, DeviceError> {
        let device = Device::open(&options)?;
        if let Some(fault) = device.pipeline_cache_fault() {
            self.note(&fault);
        }
        Ok(device)
    }

    /// Creates a progress bar on standard error; `len` is `None` if the length is unknown.
    fn bar(&self, len: Option<u64>, template: &str) -> ProgressBar {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        ProgressBar::with_draw_target(len, target).with_style(bar_style(template))
    }

    /// Prints a note on standard error, unless --quiet is set.
    fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            terminal::say(text.as_ref());
        }
    }
}

/// The style of a progress bar. Templates are literals in this program.
fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template of a progress bar parses")
}

#[derive(Subcommand)]
enum Command {
    Pull(pull::PullArgs),
    Models(models::ModelsArgs),
    Convert(convert::ConvertArgs),
    Chat(chat::ChatArgs),
    Serve(Box<serve::ServeArgs>),
    Generate(generate::GenerateArgs),
    Logprobs(logprobs::LogprobsArgs),
    Tokenize(tokenize::TokenizeArgs),
    Template(template::TemplatePrintArgs),
    Perplexity(perplexity::PerplexityArgs),
    Sft(sft::SftArgs),
    Preferences(Box<preferences::PreferencesArgs>),
    SelfAlign(self_align::SelfAlignArgs),
    Salmon(salmon::SalmonArgs),
    Reward(reward::RewardArgs),
    Judge(judge::JudgeArgs),
    Score(score::ScoreArgs),
    Steer(steer::SteerArgs),
    Align(Box<align::AlignArgs>),
    Dpo(Box<dpo::DpoArgs>),
    Adapter(adapter::AdapterArgs),
    Principles(principles::PrinciplesArgs),
    Attributes(attributes::AttributesArgs),
    Bench(bench::BenchArgs),
    Tune(tune::TuneArgs),
    Doctor(doctor::DoctorArgs),
}

/// Runs the program on the process's arguments and returns its exit code.
pub fn main() -> ExitCode {
    quiet_mesa();
    interrupt::report_bus_errors();
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Pull(args) => args.run(&cli.global),
        Command::Models(args) => args.run(&cli.global),
        Command::Convert(args) => args.run(&cli.global),
        Command::Chat(args) => args.run(&cli.global),
        Command::Serve(args) => args.run(&cli.global),
        Command::Generate(args) => args.run(&cli.global),
        Command::Logprobs(args) => args.run(&cli.global),
        Command::Tokenize(args) => args.run(&cli.global),
        Command::Template(args) => args.run(&cli.global),
        Command::Perplexity(args) => args.run(&cli.global),
        Command::Sft(args) => args.run(&cli.global),
        Command::Preferences(args) => args.run(&cli.global),
        Command::SelfAlign(args) => args.run(&cli.global),
        Command::Salmon(args) => args.run(&cli.global),
        Command::Reward(args) => args.run(&cli.global),
        Command::Judge(args) => args.run(&cli.global),
        Command::Score(args) => args.run(&cli.global),
        Command::Steer(args) => args.run(&cli.global),
        Command::Align(args) => args.run(&cli.global),
        Command::Dpo(args) => args.run(&cli.global),
        Command::Adapter(args) => args.run(&cli.global),
        Command::Principles(args) => args.run(&cli.global),
        Command::Attributes(args) => args.run(),
        Command::Bench(args) => args.run(&cli.global),
        Command::Tune(args) => args.run(&cli.global),
        Command::Doctor(args) => args.run(&cli.global),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Disables Mesa's device selection layer, which this program does not need. On machines without a
/// desktop the layer prints `error: XDG_RUNTIME_DIR is invalid`.
fn quiet_mesa() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the program has started no other thread so far, so none reads the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_timeout_is_up_to_a_day() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("86400"), Ok(Duration::from_secs(86_400)));
        for wrong in ["86401", "1e300", "inf", "NaN", "0", "-1", "ten"] {
            assert!(seconds(wrong).is_err_and(|reason| reason.contains("up to 86400 (a day)")), "{wrong}");
        }
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("parr {name}")), "`parr {name} --help` shows no example");
        }
    }
}
