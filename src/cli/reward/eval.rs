//! `parr reward eval`: measures how well a reward model follows principles.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::interrupt::interruptible;
use crate::cli::open::ModelArgs;
use crate::cli::output::{OutputFile, write_row};
use crate::cli::table::Table;
use crate::cli::terminal;
use parr::output::Mark;
use parr::reward::{EvaluateOptions, Rate, RewardModel, RewardOptions, RewardReport, Sensitivity, evaluate};
use parr::train::Event;

const LONG_ABOUT: &str = "\
Measures how well a reward model follows principles. It uses the comparisons of
prompts that were held out in its training. The report has:

- accuracy: how often the better reply scores higher, under lists of principles
  and under single principles
- flips: how often the ranking flips when principles are negated
- sensitivity: how much each principle shifts the scores
- length: whether longer replies score higher
- calibration: whether score differences match the chances of being preferred

--html writes the same report as one self-contained page with plots.";

const EXAMPLES: &str = "\
Examples:
  parr reward eval --reward runs/reward --comparisons judged.jsonl
  parr reward eval --reward runs/reward --comparisons judged.jsonl \\
      --html report.html --json > report.json
  parr reward eval --reward runs/style --comparisons new.jsonl \\
      --principles style-unseen --by-check --all
  parr reward eval --reward runs/start --preferences hh.jsonl";

/// Measure how well a reward model follows principles
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct EvalArgs {
    /// Reward model: the folder of a `parr reward train` run, or a PEFT directory
    #[arg(long, value_name = "DIR")]
    reward: PathBuf,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    /// Measure on all prompts, for comparisons that were not used in training
    #[arg(long)]
    all: bool,

    /// Most pairs, and most comparisons per principle; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,

    /// Number of inputs computed at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,

    /// Accept a reward model that was trained on other weights, such as an unquantized copy
    #[arg(long)]
    any_base: bool,

    /// Write the report as an HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let page = OutputFile::of(self.html.as_deref(), Mark::Page, &[&self.reward])?;
        let data = self.data.read()?;
        let (_device, model) = self.model.open(global)?;
        let options = RewardOptions { slots: self.batch.into(), any_base: self.any_base };
        let mut reward = RewardModel::open(&model, &self.reward, &options)?;
        let trained = reward.reward_card().aggregate.clone();
        if trained.is_none() && !self.all {
            let reason = "the card does not list the held-out prompts: add --all to measure on all prompts";
            return Err(CliError::Model(reason.to_owned()));
        }
        let options = EvaluateOptions {
            aggregate: trained.unwrap_or_default(),
            everything: self.all,
            limit: Some(self.limit).filter(|limit| *limit > 0),
        };
        let bar = global.bar(None, "{bar:30} question {pos}/{len}, {eta} left");
        let report = interruptible(|token| {
            evaluate(&mut reward, &data, &options, token, &mut |event| {
                if let Event::Counted(count) = event {
                    bar.set_length(count.of as u64);
                    bar.set_position(count.done as u64);
                }
            })
        });
        bar.finish_and_clear();
        let report = report?;
        // First, because the page may not be writable any more after hours of work.
        let printed = if self.json {
            write_row(&report)
        } else {
            write!(terminal::stdout(), "{}", text(&report)).map_err(CliError::from)
        };
        if let Some(page) = &page {
            page.write(|file| file.write_all(report.to_html().as_bytes()))?;
            global.note(format!("wrote {}", page.path().display()));
        }
        printed
    }
}

/// The report for a terminal.
fn text(report: &RewardReport) -> String {
    let shown = |rate: &Rate| match rate.of {
        0 => "-".to_owned(),
        _ => format!("{:.1}", 100.0 * rate.rate),
    };
    let lists = Rate::new(report.lists.all.right, report.lists.all.pairs);
    let mut figures = Table::new(&["figure", "%", "of"]);
    for (name, rate) in [
        ("right under lists of principles", &lists),
        ("right under one principle", &report.alone_accuracy),
        ("flipped by negating one principle", &report.alone_flips),
        ("flipped by negating a list", &report.list_flips),
        ("unchanged by the order of the list", &report.order_consistency),
    ] {
        figures.row([name.to_owned(), shown(rate), rate.of.to_string()]);
    }
    let mut text = figures.to_string();
    if !report.alone.is_empty() {
        let mut table =
            Table::new(&["principle", "trained", "pairs", "right %", "negated %", "flips %", "shift"]);
        for one in &report.alone {
            let shift = |known: &&Sensitivity| known.principle == one.principle;
            let shift = report.sensitivity.iter().find(shift).map(|known| format!("{:.2}", known.shift));
            table.row([
                one.principle.clone(),
                if one.taught { "yes" } else { "no" }.to_owned(),
                one.definition.pairs.to_string(),
                format!("{:.1}", 100.0 * one.definition.accuracy),
                format!("{:.1}", 100.0 * one.negative.accuracy),
                shown(&one.flips),
                shift.unwrap_or_default(),
            ]);
        }
        text.push_str(&format!("\n{table}"));
    }
    let correlation = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:+.2}"));
    let (length, calibration) = (&report.length, &report.calibration);
    text.push_str(&format!(
        "\ncorrelation with length: {} with principles, {} without\n\
         calibration: expected error {:.3}, Brier {:.3}, loss {:.4}\n",
        correlation(length.with_principles),
        correlation(length.without_principles),
        calibration.expected_error,
        calibration.brier,
        calibration.loss
    ));
    text
}
