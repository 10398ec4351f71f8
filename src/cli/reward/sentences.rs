//! `parr reward sentences`: measures how well a reward model reads sentences.

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
use parr::attributes::{CaseOptions, cases, everyday, lists};
use parr::reward::{RewardModel, RewardOptions, read_sentences};

const LONG_ABOUT: &str = "\
Measures how well a reward model reads sentences that it was not trained on.

Programs make pairs of replies: one has an attribute, such as an emoji, the
other has another one instead. The model scores both under sentences that ask
for the attribute, and under sentences that forbid it. Programs decide which
reply is right.

The table has four parts: sentences of the training, everyday sentences about
attributes of the training, attributes that were held out, and domains that were
held out whole. Use prompts that the model was not trained on.

  principle   the right reply scores higher under a sentence that asks
  negative    the right reply scores higher under a sentence that forbids
  turned      both
  single      the sign of one score is right (pointwise models)

Behind each figure stands its 95% interval.

A second table is about lists of 2 to 8 principles. Of four replies, some keep
more of the list than others.

  pairs       of two replies, the one that keeps more scores higher
  best        no reply keeps more than the one with the highest score
  tau         Kendall's tau-b of the scores and the numbers kept";

const EXAMPLES: &str = "\
Examples:
  parr generate --jsonl prompts.jsonl --max-tokens 64 > replies.jsonl
  parr reward sentences --reward runs/reward --prompts prompts.jsonl \\
      --replies replies.jsonl
  parr reward sentences --reward runs/reward --prompts prompts.jsonl \\
      --replies replies.jsonl --json > sentences.json
  parr reward sentences --print-cases --prompts prompts.jsonl --replies replies.jsonl";

/// Measure how well a reward model reads new sentences
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct SentencesArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Reward model: a folder of `parr reward train`, or its adapter
    #[arg(long, value_name = "DIR", required_unless_present = "print_cases")]
    reward: Option<PathBuf>,

    #[command(flatten)]
    plain: PlainArgs,

    /// Pairs of replies for each attribute
    #[arg(long, value_name = "N", default_value_t = 1)]
    pairs: usize,

    /// Sentences of each kind for each attribute
    #[arg(long, value_name = "N", default_value_t = 2)]
    sentences: usize,

    /// Most attributes of each part [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Lists of principles of each length, from 2 to 8
    #[arg(long, value_name = "N", default_value_t = 10)]
    lists: usize,

    /// Seed of the pairs
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,

    /// Number of inputs computed at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,

    /// Accept a reward model that was trained on other weights, such as an unquantized copy
    #[arg(long)]
    any_base: bool,

    /// Print the report as one JSON object, with every attribute
    #[arg(long)]
    json: bool,

    /// Print the pairs and lists in JSON Lines, for other judges, and score nothing
    #[arg(long, conflicts_with_all = ["reward", "json"])]
    print_cases: bool,
}

impl SentencesArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let (replies, set) = (self.plain.replies()?, self.plain.attributes()?);
        let options = CaseOptions {
            seed: self.seed,
            pairs: self.pairs,
            sentences: self.sentences,
            attributes: self.limit.unwrap_or(usize::MAX),
            lists: self.lists,
        };
        let Some(reward) = &self.reward else {
            cases(&set, &everyday(), &replies, &options).iter().try_for_each(write_row)?;
            return lists(&set, &everyday(), &replies, &options).iter().try_for_each(write_row);
        };
        let (_device, model) = self.model.open(global)?;
        let opened = RewardOptions { slots: self.batch.into(), any_base: self.any_base };
        let mut reward = RewardModel::open(&model, reward, &opened)?;
        let bar = global.bar(None, "{bar:30} case {pos}/{len}, {eta} left");
        let report = interruptible(|token| {
            read_sentences(&mut reward, &set, &everyday(), &replies, &options, token, &mut |done, of| {
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
