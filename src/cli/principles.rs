//! `parr principles`: lists sets of principles, and checks files.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::ModelArgs;
use super::output::write_row;
use super::screen::unclear;
use super::table::Table;
use super::terminal;
use parr::principles::{Collection, PrincipleSet, SHIPPED, Use};
use parr::reward::{RewardModel, RewardOptions};

const LONG_ABOUT: &str = "\
Shows principles, and checks files of principles. A principle describes in a
sentence what a good reply is. Principles are text files that anyone can read
and change.";

const EXAMPLES: &str = "\
Examples:
  parr principles list                        the sets that come with parr
  parr principles list policy                 the principles of one set
  parr principles check my-principles.toml    mistakes by line and column
  parr principles check principles            all files in a folder, together";

const CHECK_ABOUT: &str = "\
Finds every mistake in files of principles and exemplars: unknown keys, empty
texts, missing negatives, and references to unknown names. It also finds ids and
texts that occur twice, in one file or in several.

A folder means all .toml and .json files in it and below it. SALMON's JSON lists
are accepted too.

With --reward, also names the principles that the reward model hardly reads: its
scores under them are near 0 for replies of all kinds.";

const CHECK_EXAMPLES: &str = "\
Examples:
  parr principles check my-principles.toml
  parr principles check principles
  parr principles check reward.toml policy.toml && echo valid
  parr principles check my-principles.toml --reward smollm2-principles

A valid file gets one line with a summary. Otherwise each mistake gets one line:
FILE line L column C: REASON

Exit codes: 0 no mistake; 1 mistakes, or a file that cannot be read.";

const LIST_ABOUT: &str = "\
Lists the sets of principles that come with parr. If sets are given, shows their
principles.";

const LIST_EXAMPLES: &str = "\
Examples:
  parr principles list
  parr principles list reward interventions
  parr principles list ./my-principles.toml
  parr principles list style --json | head -1

With --json, each line is one object with set, use, id, dimension, definition,
negative, weight, tags, decides and check.";

/// Show principles, or check files of principles
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct PrinciplesArgs {
    #[command(subcommand)]
    command: PrinciplesCommand,
}

#[derive(Subcommand)]
enum PrinciplesCommand {
    Check(CheckArgs),
    List(ListArgs),
}

/// Find mistakes in files of principles
#[derive(Args)]
#[command(long_about = CHECK_ABOUT, after_long_help = CHECK_EXAMPLES)]
struct CheckArgs {
    /// Files or folders of principles
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,

    /// Reward model that the principles are for: a folder, or smollm2-principles, which comes with Parr
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,
}

/// List the sets of principles, or show their principles
#[derive(Args)]
#[command(long_about = LIST_ABOUT, after_long_help = LIST_EXAMPLES)]
struct ListArgs {
    /// Sets that come with parr, files or folders [default: a list of the sets that come with parr]
    #[arg(value_name = "SET|FILE|DIR")]
    sets: Vec<String>,

    /// Print one JSON object per principle
    #[arg(long)]
    json: bool,
}

impl PrinciplesArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        match &self.command {
            PrinciplesCommand::Check(args) => args.run(global),
            PrinciplesCommand::List(args) => args.run(),
        }
    }
}

impl CheckArgs {
    fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let reports = Collection::check(&self.paths)?;
        let mut out = terminal::stdout();
        for report in &reports {
            for fault in &report.faults {
                writeln!(out, "{fault}")?;
            }
            if report.faults.is_empty() {
                writeln!(out, "{}: {}", report.path.display(), report.summary)?;
            }
        }
        out.flush()?;
        let faulty = reports.iter().filter(|report| !report.faults.is_empty()).count();
        let mistakes: usize = reports.iter().map(|report| report.faults.len()).sum();
        let plural =
            |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        match mistakes {
            0 => self.read_by_reward(global),
            _ => Err(CliError::Check(format!(
                "{} in {faulty} of {}",
                plural(mistakes, "mistake"),
                plural(reports.len(), "file")
            ))),
        }
    }
}

impl CheckArgs {
    /// Names the principles that the reward model hardly reads.
    fn read_by_reward(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let Some(folder) = &self.reward else { return Ok(()) };
        let sets = Collection::read(&self.paths)?.sets;
        let all = sets.iter().flat_map(|set| &set.principles);
        let texts: Vec<&str> = all.map(|principle| principle.definition.as_str()).collect();
        let (_device, model) = self.model.open(global)?;
        let mut reward = RewardModel::open(&model, folder, &RewardOptions::default())?;
        let found = interruptible(|token| reward.unclear(&texts, token))?;
        let mut out = terminal::stdout();
        for principle in found {
            writeln!(out, "{}", unclear(principle))?;
        }
        Ok(out.flush()?)
    }
}

impl ListArgs {
    fn run(&self) -> Result<(), CliError> {
        let mut sets = Vec::new();
        for name in &self.sets {
            if Path::new(name).is_dir() {
                sets.extend(Collection::read(&[PathBuf::from(name)])?.sets);
            } else {
                sets.push(PrincipleSet::open(name)?);
            }
        }
        if self.sets.is_empty() {
            sets = SHIPPED.iter().map(|(name, _)| PrincipleSet::open(name)).collect::<Result<_, _>>()?;
        }
        if self.json {
            return sets.iter().try_for_each(rows);
        }
        let mut out = terminal::stdout();
        if self.sets.is_empty() {
            let mut table = Table::new(&["set", "use", "principles", "title"]);
            for set in &sets {
                table.row([&set.id, set.uses.name(), &set.principles.len().to_string(), &set.title]);
            }
            write!(out, "{table}")?;
            return Ok(out.flush()?);
        }
        for (at, set) in sets.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            show(set, &mut out)?;
        }
        Ok(out.flush()?)
    }
}

/// Prints a set as text.
fn show(set: &PrincipleSet, out: &mut impl Write) -> Result<(), CliError> {
    let uses = match set.uses {
        Use::Sample { draws } => format!("sample, {draws} drawn for a score"),
        other => other.name().to_owned(),
    };
    writeln!(out, "{}: {} ({uses})", set.id, set.title)?;
    for principle in &set.principles {
        let weight = match set.uses {
            Use::Sample { .. } => format!(", weight {}", principle.weight),
            _ => String::new(),
        };
        writeln!(out, "\n{} ({}{weight})", principle.id, principle.dimension)?;
        writeln!(out, "  {}", principle.definition)?;
        if let Some(negative) = &principle.negative {
            writeln!(out, "  negated: {negative}")?;
        }
        if let Some(check) = principle.check {
            writeln!(out, "  checked by: {}", check.name())?;
        }
    }
    Ok(())
}

/// Prints a set as JSON Lines.
fn rows(set: &PrincipleSet) -> Result<(), CliError> {
    set.principles.iter().try_for_each(|principle| {
        write_row(&json!({
            "set": set.id,
            "use": set.uses.name(),
            "id": principle.id,
            "dimension": principle.dimension,
            "definition": principle.definition,
            "negative": principle.negative,
            "weight": principle.weight,
            "tags": principle.tags,
            "decides": principle.decides,
            "check": principle.check.map(|check| check.name()),
        }))
    })
}
