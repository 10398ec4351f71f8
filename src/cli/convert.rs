//! `parr convert`: a Hugging Face directory as a GGUF file.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::quant;
use super::terminal::shown;
use parr::convert::{ConvertOptions, convert};
use parr::format::Checkpoint;
use parr::hub;
use parr::quant::Quant;

const LONG_ABOUT: &str = "\
Writes the model in a Hugging Face directory to one GGUF file, which llama.cpp
reads too. Tokenizer and chat template are in the file.

Matrices are stored in the format that --quant names. The embedding and the
output matrix are stored in q6_k where that format is coarser. Vectors stay f32.
A format whose blocks do not divide a row is replaced by q8_0, or by f16.";

const EXAMPLES: &str = "\
Examples:
  parr convert ./my-model --out my-model.gguf                  keeps the formats
  parr convert ./my-model --out my-model-q4_k.gguf --quant q4_k
  parr pull Qwen/Qwen3-0.6B
  parr convert Qwen/Qwen3-0.6B --out qwen3-q8_0.gguf --quant q8_0";

/// Write a Hugging Face directory as a GGUF file
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ConvertArgs {
    /// Directory with config.json and safetensors, or the name of a pulled one
    #[arg(value_name = "DIR")]
    model: String,

    /// The GGUF file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Format of matrices: f16, q8_0, q6_k, q4_k, ... [default: that of each]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    quant: Option<Quant>,

    /// Format of the embedding and the output matrix [default: q6_k or finer]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    output_quant: Option<Quant>,

    /// Name of the model in the file [default: that of the directory]
    #[arg(long)]
    name: Option<String>,
}

impl ConvertArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let checkpoint = Checkpoint::open(&hub::resolve(&self.model)?)?;
        let options =
            ConvertOptions { quant: self.quant, output: self.output_quant, name: self.name.clone() };
        let bar = global.bar(None, "converting {bar:30} {decimal_bytes}/{decimal_total_bytes} {eta} left");
        let converted = interruptible(|token| {
            convert(&checkpoint, &self.out, &options, &mut |progress| {
                bar.set_length(progress.total_bytes);
                bar.set_position(progress.done_bytes);
                if token.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        bar.finish_and_clear();
        let converted = converted?;
        for name in &converted.left_out {
            global.note(format!("left out `{}`, for which GGUF has no place", shown(name)));
        }
        global.note(format!("wrote {} tensors to {}", converted.tensors, self.out.display()));
        Ok(())
    }
}
