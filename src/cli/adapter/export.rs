//! `parr adapter export`: from one kind of adapter file to the other.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::BaseArgs;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::open::quant;
use crate::quant::Quant;

const LONG_ABOUT: &str = "\
Writes an adapter as a PEFT directory or as a GGUF file that llama.cpp loads with --lora. Ranks and
scales that differ by projection become one, which changes no result.";

const EXAMPLES: &str = "\
Examples:
  parr adapter export my-adapter --model smollm2 --to gguf --out my-adapter.gguf
  parr adapter export my-adapter --model smollm2 --to gguf --quant f16 --out small.gguf
  parr adapter export downloaded.gguf --model ./base --to peft --out ./my-adapter
  parr adapter export my-adapter --model smollm2 --to peft --quant f16 --out ./half-size";

/// Write an adapter in the other format
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ExportArgs {
    /// A PEFT directory or a GGUF adapter
    #[arg(value_name = "DIR")]
    adapter: PathBuf,

    #[command(flatten)]
    base: BaseArgs,

    /// What to write
    #[arg(long)]
    to: Target,

    /// Where to write it
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// Store the factors as f32 or f16; the head of a reward model stays f32
    #[arg(long, value_name = "f32|f16", default_value = "f32", value_parser = quant)]
    quant: Quant,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// A directory for Hugging Face's PEFT
    Peft,
    /// A file for llama.cpp
    Gguf,
}

impl ExportArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let (_, config, adapter) = self.base.open(&self.adapter)?;
        match self.to {
            Target::Peft => adapter.write_peft_as(&self.out, self.quant)?,
            Target::Gguf => adapter.write_gguf(&self.out, &config, self.quant)?,
        }
        global.note(format!("wrote {}", self.out.display()));
        Ok(())
    }
}
