//! `parr reward factory`: labelled replies for a pointwise reward model, from plain ones.

use clap::Args;

use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::output::write_row;
use crate::cli::plain::PlainArgs;
use parr::attributes::{Factory, FactoryConfig};

const LONG_ABOUT: &str = "\
Makes training data for a reward model that reads any sentence.

Programs edit plain replies: they add an emoji, a warning, a sentence about the
weather. Other programs label each reply under many sentences, such as 'No
emoji please.': does the reply keep it? The attributes, their programs and the
sentences come with parr, and --attributes reads other ones. Attributes that are
held out for evaluation are never used here.

The same inputs and seed give the same rows.";

const EXAMPLES: &str = "\
Examples:
  parr generate --jsonl prompts.jsonl --max-tokens 64 > replies.jsonl
  parr reward factory --prompts prompts.jsonl --replies replies.jsonl \\
      --count 2000 > labelled.jsonl
  parr reward train --labels labelled.jsonl --out runs/reward

Output rows: id, prompt, reply and labels, a list with principle, keeps (true or
false) and attribute.";

/// Pairs that are made before they are printed.
const AT_ONCE: u32 = 64;

/// Make labelled replies for training from plain ones
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct FactoryArgs {
    #[command(flatten)]
    plain: PlainArgs,

    /// Use only this many attributes, drawn by the seed
    #[arg(long, value_name = "N")]
    only: Option<usize>,

    /// Number of labelled replies
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: u32,

    /// Labels of each reply
    #[arg(long, value_name = "N", default_value_t = FactoryConfig::default().labels)]
    labels: usize,

    /// Seed of all draws
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

impl FactoryArgs {
    pub(super) fn run(&self, _global: &GlobalArgs) -> Result<(), CliError> {
        let (replies, set) = (self.plain.replies()?, self.plain.attributes()?);
        let attributes = set.some(self.only.unwrap_or(usize::MAX), self.seed);
        let config = FactoryConfig { seed: self.seed, labels: self.labels, ..FactoryConfig::default() };
        let factory = Factory::new(attributes, &replies, config)?;
        let (mut rows, mut next) = (0, 0);
        // A plain reply without text gives no row, so a few numbers may be skipped.
        while next < self.count {
            let last = next.saturating_add(AT_ONCE).min(self.count);
            for row in factory.make_all(next..last).iter().flatten() {
                write_row(row)?;
                rows += 1;
                if rows == self.count {
                    return Ok(());
                }
            }
            next = last;
        }
        Err(CliError::Check(format!("only {rows} of {} replies have a text to edit", self.count)))
    }
}
