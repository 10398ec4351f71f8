//! `parr adapter`: LoRA adapters on disk. No GPU is used.

mod export;
mod info;
mod merge;

use std::path::Path;

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::error::CliError;
use crate::adapter::{Adapter, AdapterFileError, check_base};
use crate::format::Checkpoint;
use crate::hub::{self, CATALOG};
use crate::model::ModelConfig;

const LONG_ABOUT: &str = "\
Shows, merges and converts LoRA adapters: PEFT directories (adapter_config.json with
adapter_model.safetensors) and llama.cpp's GGUF adapters. No GPU is used.";

const EXAMPLES: &str = "\
Examples:
  parr adapter info my-adapter
  parr adapter merge --model smollm2 --adapter my-adapter --out merged.gguf
  parr adapter export my-adapter --model smollm2 --to gguf --out my-adapter.gguf";

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

/// The base of an adapter, on disk only.
#[derive(Args)]
struct BaseArgs {
    /// The base: a pulled name, a GGUF file or a Hugging Face directory
    #[arg(short, long, default_value = CATALOG[0].name)]
    model: String,

    /// Take the adapter though it was trained on other weights than --model, such as a quantized copy
    #[arg(long)]
    any_base: bool,
}

impl BaseArgs {
    /// Opens the base and the adapter at `path`, which must have been trained on it.
    fn open(&self, path: &Path) -> Result<(Checkpoint, ModelConfig, Adapter), CliError> {
        let checkpoint = Checkpoint::open(&hub::resolve(&self.model)?)?;
        let config = ModelConfig::from_checkpoint(&checkpoint)?;
        let adapter = Adapter::open(path, &config)?;
        if !self.any_base {
            check_base(&adapter.card, &checkpoint).map_err(|error| match error {
                AdapterFileError::OtherBase { .. } => {
                    CliError::Model(format!("{error}, or say --any-base if you know that the weights agree"))
                }
                other => other.into(),
            })?;
        }
        Ok((checkpoint, config, adapter))
    }
}
