//! `parr adapter export`: writes an adapter as PEFT or GGUF.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{BaseArgs, check_out};
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::open::quant;
use parr::quant::Quant;

const LONG_ABOUT: &str = "\
Writes an adapter as a PEFT directory, or as a GGUF file that llama.cpp loads
with --lora. If ranks or scales differ between projections, the new adapter has
one rank and one scale for all. This changes no result.";

const EXAMPLES: &str = "\
Examples:
  parr adapter export my-adapter --to gguf --out my-adapter.gguf
  parr adapter export my-adapter --to gguf --quant f16 --out small.gguf
  parr adapter export down.gguf --model ./base --to peft --out ./my-adapter
  parr adapter export my-adapter --to peft --quant f16 --out ./half-size";

/// Convert an adapter to PEFT or GGUF
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ExportArgs {
    /// Adapter: a PEFT directory or a GGUF file
    #[arg(value_name = "DIR")]
    adapter: PathBuf,

    #[command(flatten)]
    base: BaseArgs,

    /// Format to write
    #[arg(long)]
    to: Target,

    /// Path of the new directory or file
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// Number format of the factors; the head of a reward model stays f32
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
        check_out(&self.out, &self.adapter)?;
        let (_, config, adapter) = self.base.open(&self.adapter)?;
        match self.to {
            Target::Peft => adapter.write_peft_as(&self.out, self.quant)?,
            Target::Gguf => adapter.write_gguf(&self.out, &config, self.quant)?,
        }
        global.note(format!("wrote {}", self.out.display()));
        Ok(())
    }
}
