//! `parr adapter merge`: merges an adapter into its base.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use super::{BaseArgs, check_out};
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::interrupt::interruptible;
use crate::cli::open::quant;
use parr::adapter::{MergeOptions, merge};
use parr::quant::Quant;

const LONG_ABOUT: &str = "\
Writes a copy of the base with the adapter merged into it. Each adapted matrix W
becomes W + scale B A; everything else is copied byte for byte. A GGUF base
gives a GGUF file, a Hugging Face directory gives a new directory.

Merged matrices keep the base's format. A coarse format rounds away most of a
small change. A merged 4-bit model therefore differs from base and adapter used
together. --quant q8_0 or f16 keeps it close, but the file is larger.";

const EXAMPLES: &str = "\
Examples:
  parr adapter merge --adapter my-adapter --out merged.gguf
  parr adapter merge --adapter my-adapter --out merged.gguf --quant q8_0
  parr adapter merge --model ./base --adapter my-adapter --out ./merged
  parr adapter merge --model base-f16.gguf --any-base --adapter my-adapter \\
      --out merged-f16.gguf";

/// Write the base with an adapter merged into it
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct MergeArgs {
    #[command(flatten)]
    base: BaseArgs,

    /// Adapter: a PEFT directory or a GGUF file
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,

    /// Path of the merged model: a file for a GGUF base, else a new directory
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,

    /// Format of merged matrices: f16, q8_0, ... [default: as in the base]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    quant: Option<Quant>,
}

impl MergeArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        check_out(&self.out, &self.adapter)?;
        let (checkpoint, _, adapter) = self.base.open(&self.adapter)?;
        let bar = global.bar(None, "merging {bar:30} {decimal_bytes}/{decimal_total_bytes} {eta} left");
        let options = MergeOptions { quant: self.quant };
        let merged = interruptible(|token| {
            merge(&checkpoint, &adapter, &self.out, &options, &mut |progress| {
                bar.set_length(progress.total_bytes);
                bar.set_position(progress.done_bytes);
                if token.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        bar.finish_and_clear();
        global.note(format!("merged {} matrices into {}", merged?, self.out.display()));
        Ok(())
    }
}
