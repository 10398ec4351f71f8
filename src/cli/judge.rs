//! `parr judge`: compares judges that need no training.

use std::io::Write;

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::ModelArgs;
use super::output::write_row;
use super::plain::PlainArgs;
use super::terminal;
use parr::attributes::{CaseOptions, everyday};
use parr::judge::{AdaptedModel, bench};

const LONG_ABOUT: &str = "\
Compares judges that need no training. A judge decides which of two replies
keeps a principle better. `parr reward train` trains a model for that; these only
ask a language model.";

const EXAMPLES: &str = "\
Examples:
  parr generate --jsonl prompts.jsonl --max-tokens 64 > replies.jsonl
  parr judge bench --prompts prompts.jsonl --replies replies.jsonl
  parr judge bench --model qwen.gguf --prompts prompts.jsonl \\
      --replies replies.jsonl --limit 20";

const BENCH_ABOUT: &str = "\
Measures how often judges that need no training are right.

Programs make pairs of replies that differ in an attribute, such as an emoji, so
the right order is known. Every judge compares both replies under a sentence that
asks for the attribute and one that forbids it:

  contrast    how much more likely the reply is under the first sentence than
              under the second, in the system message or behind the request
  yes or no   whether the model would rather say yes or no when it is asked
  backward    how much more likely the first sentence is after the reply
  sum         all of them, each divided by its spread

Chance is 50%. Behind each figure stands its 95% interval. A larger model, given
by --model, is a better judge.";

/// Compare judges that need no training
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct JudgeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(BenchArgs),
}

/// Measure how often judges that need no training are right
#[derive(Args)]
#[command(long_about = BENCH_ABOUT, after_long_help = EXAMPLES)]
struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    plain: PlainArgs,

    /// Most attributes of each part; 0 for all
    #[arg(long, value_name = "N", default_value_t = 40)]
    limit: usize,

    /// Seed of the pairs
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl JudgeArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        match &self.command {
            Command::Bench(args) => args.run(global),
        }
    }
}

impl BenchArgs {
    fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let (replies, set) = (self.plain.replies()?, self.plain.attributes()?);
        let (_device, model) = self.model.open(global)?;
        let attributes = if self.limit == 0 { usize::MAX } else { self.limit };
        let options = CaseOptions { seed: self.seed, attributes, ..CaseOptions::default() };
        let bar = global.bar(None, "{bar:30} pair {pos}/{len}, {eta} left");
        let report = interruptible(|token| {
            let model = AdaptedModel::base(&model);
            bench(model, &set, &everyday(), &replies, &options, token, &mut |done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })
        });
        bar.finish_and_clear();
        let report = report?;
        if self.json {
            return write_row(&report);
        }
        Ok(write!(terminal::stdout(), "{report}")?)
    }
}
