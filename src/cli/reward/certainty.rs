//! `parr reward certainty`: measures which sentences a reward model hardly reads.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::interrupt::interruptible;
use crate::cli::open::ModelArgs;
use crate::cli::output::write_row;
use crate::cli::plain::PlainArgs;
use crate::cli::terminal;
use parr::attributes::CaseOptions;
use parr::reward::{RewardCard, RewardModel, RewardOptions, measure_certainty};

const LONG_ABOUT: &str = "\
Measures how a pointwise reward model's certainty about a sentence goes with
reading it. The certainty is the mean distance of its log-odds from 0, over short
replies of many kinds.

Sentences are about attributes that were held out of the training. Programs make
pairs of replies, as for `parr reward sentences`. The table shows how often
the right reply scores higher, for each quarter of the sentences.

With --write, the bound below which sentences are right at most 60% of the time
goes into the card of the reward model. `score`, `chat`, `align` and `principles
check --reward` then name the sentences below it.";

const EXAMPLES: &str = "\
Examples:
  parr reward certainty --reward runs/reward --prompts prompts.jsonl \\
      --replies replies.jsonl
  parr reward certainty --reward runs/reward --prompts prompts.jsonl \\
      --replies replies.jsonl --write --json > certainty.json";

/// Measure which sentences a reward model hardly reads
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct CertaintyArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Reward model: a folder of `parr reward train`, or its adapter
    #[arg(long, value_name = "DIR")]
    reward: PathBuf,

    #[command(flatten)]
    plain: PlainArgs,

    /// Sentences of each kind for each attribute
    #[arg(long, value_name = "N", default_value_t = 2)]
    sentences: usize,

    /// Seed of the pairs
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,

    /// Write the bound to the card of the reward model
    #[arg(long)]
    write: bool,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl CertaintyArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let (replies, set) = (self.plain.replies()?, self.plain.attributes()?);
        let options =
            CaseOptions { seed: self.seed, sentences: self.sentences, lists: 0, ..CaseOptions::default() };
        let (_device, model) = self.model.open(global)?;
        let mut reward = RewardModel::open(&model, &self.reward, &RewardOptions::default())?;
        let bar = global.bar(None, "{bar:30} sentence {pos}/{len}, {eta} left");
        let report = interruptible(|token| {
            measure_certainty(&mut reward, &set, &replies, &options, token, &mut |done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })
        });
        bar.finish_and_clear();
        let report = report?;
        if self.write {
            RewardCard::set_unclear_below(&self.reward, report.unclear_below)?;
            global.note(format!("wrote the bound to the card in {}", self.reward.display()));
        }
        if self.json {
            return write_row(&report);
        }
        Ok(write!(terminal::stdout(), "{report}")?)
    }
}
