//! `parr adapter merge`: an adapter into its base.

use std::path::PathBuf;

use clap::Args;

use super::BaseArgs;
use crate::adapter::{MergeOptions, merge};
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::open::quant;
use crate::quant::Quant;

const LONG_ABOUT: &str = "\
Writes the base with the adapter merged into it: W + scale B A in the place of W, everything else byte
for byte. A GGUF base becomes a GGUF file, a Hugging Face directory a new directory.

Merged matrices keep the base's format. A coarse one rounds away most of a small change, so the merged
model of a 4-bit base answers less like base and adapter apart; --quant q8_0 or f16 keeps them close
at the price of size.";

const EXAMPLES: &str = "\
Examples:
  parr adapter merge --model smollm2 --adapter my-adapter --out merged.gguf
  parr adapter merge --model smollm2 --adapter my-adapter --out merged.gguf --quant q8_0
  parr adapter merge --model ./base --adapter my-adapter --out ./merged
  parr adapter merge --model base-f16.gguf --any-base --adapter my-adapter --out merged-f16.gguf";

/// Write the base with an adapter merged into it
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct MergeArgs {
    #[command(flatten)]
    base: BaseArgs,

    /// A PEFT directory or a GGUF adapter
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,

    /// The merged model: a file for a GGUF base, a new directory for a Hugging Face one
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,

    /// Store merged matrices in this format: f16, q8_0, ... [default: the base's own]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    quant: Option<Quant>,
}

impl MergeArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let (checkpoint, _, adapter) = self.base.open(&self.adapter)?;
        let bar = global.bar(None, "merging {bar:30} {decimal_bytes}/{decimal_total_bytes} {eta} left");
        let options = MergeOptions { quant: self.quant };
        let merged = merge(&checkpoint, &adapter, &self.out, &options, &mut |progress| {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
        });
        bar.finish_and_clear();
        global.note(format!("merged {} matrices into {}", merged?, self.out.display()));
        Ok(())
    }
}
