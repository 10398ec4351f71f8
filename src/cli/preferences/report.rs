//! `parr preferences report`: counts verdicts by principle.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::write_row;
use crate::cli::table::Table;
use crate::cli::terminal;
use parr::judge::{WrittenReport, written_report};
use parr::preferences::{Comparison, judge_report, read_records};

const LONG_ABOUT: &str = "\
Counts the verdicts under each principle: for the first reply, for the second,
undecided. It also reports how often the verdict is the same in both orders of
the replies, and how much the judge prefers the reply that it reads first.

For replies that were written under the principle or its negative, it counts the
verdicts that match this and those that contradict it.";

const EXAMPLES: &str = "\
Examples:
  parr preferences report judged.jsonl
  parr preferences report judged.jsonl --json | head -1";

/// Count the verdicts in a file by principle
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// JSON Lines of comparisons
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print one JSON object per principle
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let comparisons: Vec<Comparison> = read_records(&self.file)?;
        if !self.json {
            return Ok(write!(terminal::stdout(), "{}", table(&comparisons))?);
        }
        rows(&comparisons).iter().try_for_each(|row| {
            write_row(&json!({
                "principle": row.principle,
                "verdicts": row.verdicts,
                "first": row.first,
                "second": row.second,
                "undecided": row.undecided,
                "consistent": row.consistent,
                "position_bias": row.position_bias,
                "written_under": row.written.pairs,
                "as_written": row.written.as_written,
                "against": row.written.against,
            }))
        })
    }
}

/// The verdicts under one principle.
struct Row {
    principle: String,
    verdicts: usize,
    first: usize,
    second: usize,
    undecided: usize,
    consistent: f64,
    position_bias: f64,
    written: WrittenReport,
}

fn rows(comparisons: &[Comparison]) -> Vec<Row> {
    let written = written_report(comparisons).into_iter();
    let mut written: HashMap<String, WrittenReport> =
        written.map(|report| (report.principle.clone(), report)).collect();
    let row = |report: parr::preferences::PrincipleReport| {
        let decided = (report.consistent * report.verdicts as f64).round() as usize;
        let first = (report.first_wins * decided as f64).round() as usize;
        Row {
            verdicts: report.verdicts,
            first,
            second: decided - first,
            undecided: report.verdicts - decided,
            consistent: report.consistent,
            position_bias: report.position_bias,
            written: written.remove(&report.principle).unwrap_or_default(),
            principle: report.principle,
        }
    };
    judge_report(comparisons).into_iter().map(row).collect()
}

/// The report for a terminal.
pub(super) fn table(comparisons: &[Comparison]) -> String {
    let mut table = Table::new(&[
        "principle",
        "verdicts",
        "first",
        "second",
        "undecided",
        "agree %",
        "bias",
        "written",
        "as written",
        "against",
    ]);
    for row in rows(comparisons) {
        let counts = [row.verdicts, row.first, row.second, row.undecided].map(|count| count.to_string());
        let figures = [format!("{:.1}", 100.0 * row.consistent), format!("{:+.3}", row.position_bias)];
        let WrittenReport { pairs, as_written, against, .. } = row.written;
        let written = [pairs, as_written, against].map(|count| count.to_string());
        table.row([row.principle].into_iter().chain(counts).chain(figures).chain(written));
    }
    table.to_string()
}
