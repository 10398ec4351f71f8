//! `parr attributes`: lists what programs can decide about a reply, and counts it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::CliError;
use super::output::write_row;
use super::table::Table;
use super::terminal;
use parr::attributes::{Attribute, AttributeSet, Parameter, Seen};
use parr::steer::compare::ComparisonReport;

const LONG_ABOUT: &str = "\
Shows attributes of replies, and counts them. An attribute is something that a
reply has or has not, such as an emoji or a warning. A program decides. Reward
models that read any sentence are trained on attributes, except those that are
held out.";

const EXAMPLES: &str = "\
Examples:
  parr attributes list                       all that come with parr
  parr attributes list emoji --json
  parr steer compare --prompts held-out.jsonl --principles mine.toml \\
      --adapter runs/ppo --methods adapter --json report.json
  parr attributes rate emoji semicolons --comparison report.json";

const RATE_ABOUT: &str = "\
Counts the replies of a comparison that have an attribute, for each method of
steering. The program that decides does not depend on any reward model. Behind
each rate stands its 95% interval.";

/// Show attributes of replies, and count them
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct AttributesArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(ListArgs),
    Rate(RateArgs),
}

/// List attributes, with a sentence of each kind
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
struct ListArgs {
    /// Ids of attributes [default: all]
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Files of attributes, instead of those that come with parr
    #[arg(long, value_name = "FILE", num_args = 1..)]
    attributes: Vec<PathBuf>,

    /// Print one JSON object per attribute, with all sentences
    #[arg(long)]
    json: bool,
}

/// Count the replies that have an attribute
#[derive(Args)]
#[command(long_about = RATE_ABOUT, after_long_help = EXAMPLES)]
struct RateArgs {
    /// Ids of attributes; ID=VALUE for one with a word or a number
    #[arg(value_name = "ID[=VALUE]", required = true)]
    ids: Vec<String>,

    /// Report of `parr steer compare --json`
    #[arg(long, value_name = "FILE")]
    comparison: PathBuf,

    /// Files of attributes, instead of those that come with parr
    #[arg(long, value_name = "FILE", num_args = 1..)]
    attributes: Vec<PathBuf>,

    /// Print one JSON object per attribute and method
    #[arg(long)]
    json: bool,
}

impl AttributesArgs {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match &self.command {
            Command::List(args) => args.run(),
            Command::Rate(args) => args.run(),
        }
    }
}

fn open(files: &[PathBuf]) -> Result<AttributeSet, CliError> {
    Ok(if files.is_empty() { AttributeSet::shipped() } else { AttributeSet::read(files)? })
}

fn find<'a>(set: &'a AttributeSet, id: &str) -> Result<&'a Attribute, CliError> {
    let unknown = || CliError::Usage(format!("no attribute `{id}`: see `parr attributes list`"));
    set.get(id).ok_or_else(unknown)
}

impl ListArgs {
    fn run(&self) -> Result<(), CliError> {
        let set = open(&self.attributes)?;
        let chosen: Vec<&Attribute> = match &self.ids[..] {
            [] => set.iter().collect(),
            ids => ids.iter().map(|id| find(&set, id)).collect::<Result<_, _>>()?,
        };
        if self.json {
            return chosen.into_iter().try_for_each(|one| {
                let (want, avoid) = (one.sentences(true), one.sentences(false));
                write_row(&json!({
                    "id": one.id, "domain": one.domain, "held_out": one.held_out, "want": want, "avoid": avoid,
                }))
            });
        }
        let mut table = Table::new(&["id", "domain", "held out", "a sentence that asks for it"]);
        for one in chosen {
            let sentence = one.sentences(true).first().cloned().unwrap_or_default();
            let held_out = if one.held_out { "held out" } else { "" };
            table.row([one.id.clone(), one.domain.clone(), held_out.to_owned(), sentence]);
        }
        Ok(write!(terminal::stdout(), "{table}")?)
    }
}

impl RateArgs {
    fn run(&self) -> Result<(), CliError> {
        let set = open(&self.attributes)?;
        let wanted: Vec<(&str, &Attribute, Parameter)> =
            self.ids.iter().map(|name| parameter(&set, name)).collect::<Result<_, _>>()?;
        let text = fs::read(&self.comparison).map_err(CliError::file(&self.comparison))?;
        let report: ComparisonReport = serde_json::from_slice(&text).map_err(|error| {
            let path = self.comparison.display();
            CliError::Usage(format!("{path} is not a report of `parr steer compare --json`: {error}"))
        })?;
        let mut table = Table::new(&["attribute", "method", "%", "from", "to", "replies"]);
        for (name, attribute, parameter) in &wanted {
            for (place, method) in report.methods.iter().enumerate() {
                let holds = report.replies.iter().filter_map(|one| {
                    let reply = &one.replies.get(place)?.text;
                    attribute.holds(Seen { prompt: &one.prompt, reply }, parameter)
                });
                let rate = parr::reward::Rate::of(holds);
                if self.json {
                    write_row(&json!({ "attribute": name, "method": method.name, "rate": rate }))?;
                    continue;
                }
                let percent = |part: f64| format!("{:.0}", 100.0 * part);
                let row = [percent(rate.rate), percent(rate.low), percent(rate.high), rate.of.to_string()];
                table.row([(*name).to_owned(), method.name.clone()].into_iter().chain(row));
            }
        }
        if self.json { Ok(()) } else { Ok(write!(terminal::stdout(), "{table}")?) }
    }
}

/// The attribute of `ID` or `ID=VALUE`, and the value of its parameter.
fn parameter<'a, 'b>(
    set: &'a AttributeSet,
    name: &'b str,
) -> Result<(&'b str, &'a Attribute, Parameter), CliError> {
    let (id, value) = name.split_once('=').map_or((name, None), |(id, value)| (id, Some(value)));
    let attribute = find(set, id)?;
    let known = attribute.parameters();
    let parameter = match (value, &known[..]) {
        (None, [Parameter::None]) => Some(Parameter::None),
        (Some(value), [Parameter::Number(_), ..]) => value.parse().ok().map(Parameter::Number),
        (Some(value), [Parameter::Word(_), ..] | []) => Some(Parameter::Word(value.to_owned())),
        _ => None,
    };
    let expected = match &known[..] {
        [Parameter::None] => "no value",
        [Parameter::Number(_), ..] => "a number, as in ID=3",
        _ => "a word, as in ID=river",
    };
    let wrong = || CliError::Usage(format!("attribute `{id}` takes {expected}"));
    Ok((name, attribute, parameter.ok_or_else(wrong)?))
}
