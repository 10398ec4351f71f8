//! The `parr` program: one file per sub-command, holding its flags, its help and its run.
//!
//! Only the library's public API is used here, so whatever a command does an app can do too.
//! Results go to standard output, everything said to a person to standard error.

mod adapter;
mod align;
mod bench;
mod chat;
mod doctor;
mod dpo;
mod error;
mod generate;
mod input;
mod interrupt;
mod logprobs;
mod open;
mod output;
mod perplexity;
mod preferences;
mod principles;
mod pull;
mod reward;
mod salmon;
mod sampling;
mod score;
mod self_align;
mod sft;
mod steer;
mod steering;
mod table;
mod tokenize;
mod training;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::gpu::{Device, DeviceError, DeviceOptions, KernelFamily};

const LONG_ABOUT: &str = "\
Runs quantized LLaMA-family models on any GPU that Vulkan, Metal or DirectX 12 can reach, a software
driver included.

A MODEL is a name that `parr pull` knows, a GGUF file, or a Hugging Face directory (config.json with
safetensors).";

const AFTER_LONG_HELP: &str = "\
First steps:
  parr pull smollm2            fetch a small model (98 MB)
  parr doctor                  check that this machine's GPU computes correctly
  parr chat                    talk to it
  parr generate 'Why is the sky blue?'

Exit codes: 0 done; 1 failed, or a check did not pass; 2 wrong usage; 130 interrupted.
Environment: PARR_CACHE (models, their hashes, compiled pipelines), PARR_GPU, PARR_KERNELS,
HF_ENDPOINT and HF_TOKEN (the Hugging Face hub).";

#[derive(Parser)]
#[command(name = "parr", version, about = "Quantized language models on any GPU", long_about = LONG_ABOUT)]
#[command(after_long_help = AFTER_LONG_HELP, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the flags that every command takes: a command's own come first.
const EVERYWHERE: &str = "Options of every command";

/// Flags that every command takes.
#[derive(Args)]
struct GlobalArgs {
    /// GPU to use: its index or a part of its name, as `parr doctor --gpus` lists them
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_GPU", hide_env_values = true, value_name = "NAME|INDEX")]
    gpu: Option<String>,

    /// Kernels to use instead of those that suit the GPU
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "PARR_KERNELS", hide_env_values = true)]
    #[arg(value_name = "lane8|tiled", value_parser = kernel_family)]
    kernels: Option<KernelFamily>,

    /// Say nothing on standard error but errors: no progress, no notes
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
}

fn kernel_family(name: &str) -> Result<KernelFamily, String> {
    KernelFamily::from_name(name).ok_or_else(|| "expected lane8 or tiled".to_owned())
}

impl GlobalArgs {
    /// Opens the device that the flags ask for.
    fn open_device(&self) -> Result<Device, DeviceError> {
        let device = Device::open(&DeviceOptions {
            adapter: self.gpu.clone(),
            family: self.kernels,
            ..DeviceOptions::default()
        })?;
        if let Some(fault) = device.pipeline_cache_fault() {
            self.note(fault);
        }
        Ok(device)
    }

    /// A progress bar on standard error, if a person looks at it; `len` is unknown where `None`.
    fn bar(&self, len: Option<u64>, template: &str) -> ProgressBar {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        ProgressBar::with_draw_target(len, target).with_style(bar_style(template))
    }

    /// Says something to the person, not to the program that reads our output.
    fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", text.as_ref());
        }
    }
}

/// The style of a progress bar; templates are literals of this program.
fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template of a progress bar parses")
}

#[derive(Subcommand)]
enum Command {
    Pull(pull::PullArgs),
    Chat(chat::ChatArgs),
    Generate(generate::GenerateArgs),
    Logprobs(logprobs::LogprobsArgs),
    Tokenize(tokenize::TokenizeArgs),
    Perplexity(perplexity::PerplexityArgs),
    Sft(sft::SftArgs),
    Preferences(Box<preferences::PreferencesArgs>),
    SelfAlign(self_align::SelfAlignArgs),
    Salmon(salmon::SalmonArgs),
    Reward(reward::RewardArgs),
    Score(score::ScoreArgs),
    Steer(steer::SteerArgs),
    Align(Box<align::AlignArgs>),
    Dpo(Box<dpo::DpoArgs>),
    Adapter(adapter::AdapterArgs),
    Principles(principles::PrinciplesArgs),
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
}

/// Runs the program on the process's arguments and returns its exit code.
pub fn main() -> ExitCode {
    quiet_mesa();
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Pull(args) => args.run(&cli.global),
        Command::Chat(args) => args.run(&cli.global),
        Command::Generate(args) => args.run(&cli.global),
        Command::Logprobs(args) => args.run(&cli.global),
        Command::Tokenize(args) => args.run(&cli.global),
        Command::Perplexity(args) => args.run(&cli.global),
        Command::Sft(args) => args.run(&cli.global),
        Command::Preferences(args) => args.run(&cli.global),
        Command::SelfAlign(args) => args.run(&cli.global),
        Command::Salmon(args) => args.run(&cli.global),
        Command::Reward(args) => args.run(&cli.global),
        Command::Score(args) => args.run(&cli.global),
        Command::Steer(args) => args.run(&cli.global),
        Command::Align(args) => args.run(&cli.global),
        Command::Dpo(args) => args.run(&cli.global),
        Command::Adapter(args) => args.run(&cli.global),
        Command::Principles(args) => args.run(&cli.global),
        Command::Bench(args) => args.run(&cli.global),
        Command::Doctor(args) => args.run(&cli.global),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Mesa's device selection layer, which this program has no use for, asks the desktop for its
/// choice and prints `error: XDG_RUNTIME_DIR is invalid` on machines that have no desktop.
fn quiet_mesa() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: this is the first thing the program does, so no other thread reads the environment.
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
    fn every_command_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("parr {name}")), "`parr {name} --help` shows no example");
        }
    }
}
