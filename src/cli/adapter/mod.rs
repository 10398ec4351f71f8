//! `parr adapter`: LoRA adapters on disk. No GPU is used.

mod export;
mod info;
mod merge;

use std::path::Path;

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::error::CliError;
use parr::adapter::{Adapter, AdapterFileError, check_base};
use parr::format::Checkpoint;
use parr::hub::{self, CATALOG};
use parr::model::ModelConfig;
use parr::output;

const LONG_ABOUT: &str = "\
Shows, merges and converts LoRA adapters. An adapter is a PEFT directory
(adapter_config.json with adapter_model.safetensors) or a GGUF adapter of
llama.cpp. No GPU is used.";

const EXAMPLES: &str = "\
Examples:
  parr adapter info my-adapter
  parr adapter merge --model smollm2 --adapter my-adapter --out merged.gguf
  parr adapter export my-adapter --to gguf --out my-adapter.gguf";

/// Show, merge and convert LoRA adapters
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct AdapterArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Info(info::InfoArgs),
    Merge(merge::MergeArgs),
    Export(export::ExportArgs),
}

impl AdapterArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        match &self.command {
            Command::Info(args) => args.run(),
            Command::Merge(args) => args.run(global),
            Command::Export(args) => args.run(global),
        }
    }
}

/// The base of an adapter, read from disk only.
#[derive(Args)]
struct BaseArgs {
    /// Base model: a name from `parr pull`, a GGUF file or a Hugging Face directory
    #[arg(short, long, default_value = CATALOG[0].name)]
    model: String,

    /// Accept an adapter that was trained on other weights than --model, such as a quantized copy
    #[arg(long)]
    any_base: bool,
}

/// `Ok` if a new adapter or model at `out` would not change the adapter that it is made of.
fn check_out(out: &Path, adapter: &Path) -> Result<(), CliError> {
    output::not_an_input(out, &[adapter, &adapter.join("adapter")]).map_err(CliError::file(out))
}

impl BaseArgs {
    /// Opens the base and the adapter at `path`, and checks that the adapter was trained on the base.
    fn open(&self, path: &Path) -> Result<(Checkpoint, ModelConfig, Adapter), CliError> {
        let checkpoint = Checkpoint::open(&hub::resolve(&self.model)?)?;
        let config = ModelConfig::from_checkpoint(&checkpoint)?;
        let adapter = Adapter::open(path, &config)?;
        if !self.any_base {
            check_base(&adapter.card, &checkpoint).map_err(|error| match error {
                AdapterFileError::OtherBase { .. } => {
                    CliError::Model(format!("{error}, or add --any-base if you know that the weights match"))
                }
                other => other.into(),
            })?;
        }
        Ok((checkpoint, config, adapter))
    }
}
