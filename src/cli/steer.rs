//! `parr steer`: measures the methods of steering.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::GlobalArgs;
use super::error::CliError;
use super::input::{Row, read_rows};
use super::interrupt::interruptible;
use super::open::{AdapterArgs, CacheArgs, ModelArgs, chat_format};
use super::output::OutputFile;
use super::sampling::SamplingArgs;
use super::steering::tell;
use super::table::Table;
use super::terminal;
use parr::output::{Mark, PARR};
use parr::principles::{PrincipleSet, Selection};
use parr::reward::RewardOptions;
use parr::steer::compare::{
    CheckReport, CompareOptions, ComparisonReport, Mean, MethodKind, MethodReport, compare,
};
use parr::steer::{SteerError, SteeredModel, Steering, Tell};

const EXAMPLES: &str = "\
Examples:
  parr steer compare --prompts prompts.jsonl --principles honest \\
      --reward runs/reward --html comparison.html";

/// Measure the methods of steering by principles
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct SteerArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(Box<CompareArgs>),
}

impl SteerArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        match &self.command {
            Command::Compare(args) => args.run(global),
        }
    }
}

const LONG_ABOUT: &str = "\
Answers the same prompts with every method of steering, and compares them. The
methods are the base, and the base with the principles in its prompt. With
--reward there are also best-of-n and guided decoding. With --adapter there is
also the adapter, without principles in its prompt.

Figures of each method: the mean score under the principles, how often replies
follow the principles that a program can check, the distance from the base's
replies, tokens and seconds.

Best-of-n and guided decoding choose by the same reward model that measures the
scores. Checked principles (the sets style and style-unseen) are an independent
measure. The distance estimates a KL divergence, in nats per reply. This holds
at --top-p 1 and a --temperature above 0, the defaults here. Each prompt has its
own seed, the same for all methods.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  parr steer compare --prompts prompts.jsonl --principles my.toml
  parr steer compare --prompts prompts.jsonl --principles honest \\
      --reward runs/reward --best-of 8 --html comparison.html
  parr steer compare --prompts prompts.jsonl \\
      --principles style:style-concise,style-bulleted \\
      --reward runs/style --adapter runs/ppo --json report.json

Prompts, one JSON object per line; other keys are ignored:
  {\"prompt\": \"Why is the sky blue?\"}";

/// Compare the methods of steering: effect, distance from the base, and cost
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = COMPARE_EXAMPLES)]
// The distance is an estimate of the KL divergence only at these values. Short replies, since five methods
// answer.
#[command(mut_arg("temperature", |arg| arg.default_value("1")))]
#[command(mut_arg("top_p", |arg| arg.default_value("1")))]
#[command(mut_arg("max_tokens", |arg| arg.default_value("128")))]
struct CompareArgs {
    /// JSON Lines of prompts; - for standard input
    #[arg(long, value_name = "FILE")]
    prompts: String,

    /// Principles: a set that comes with parr, or a file
    #[arg(long, value_name = "SET|FILE[:ID,!ID]")]
    principles: String,

    /// Reward model that chooses and scores: the folder of a `parr reward train` run, or a PEFT directory
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Number of candidates per choice
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    best_of: u16,

    /// Tokens per block of guided decoding; 0 leaves that method out
    #[arg(long, value_name = "BLOCK", default_value_t = 16)]
    guided: u16,

    /// Methods to compare with the base: prompt, best-of, guided, adapter [default: all that there are]
    #[arg(long, value_name = "METHOD,...", value_delimiter = ',', value_parser = method)]
    methods: Vec<MethodKind>,

    /// Where the prompt holds the principles; with `nobody` the searches use the base without them
    #[arg(long, value_name = "system|question|nobody", default_value = "system", value_parser = tell)]
    tell: Tell,

    /// Most principles to use, in order of weight; 0 for all
    #[arg(long, value_name = "N", default_value_t = Steering::MOST)]
    most_principles: usize,

    /// Fixed principles that the reward model reads before the others; without a value, `interventions`
    #[arg(long, value_name = "SET|FILE", requires = "reward")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "interventions")]
    interventions: Option<String>,

    /// Number of sequences generated at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Write the report as an HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the report as JSON, with every reply
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

impl CompareArgs {
    fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let inputs = [Path::new(&self.prompts)];
        let page = OutputFile::of(self.html.as_deref(), Mark::Page, &inputs)?;
        let json = OutputFile::of(self.json.as_deref(), Mark::Json, &inputs)?;
        if let (Some(page), Some(json)) = (&page, &json)
            && page.is_same(json)
        {
            return Err(CliError::Usage("--html and --json need different files".to_owned()));
        }
        let principles = Selection::open(&self.principles)?.into_set();
        let interventions = self.interventions.as_deref().map(PrincipleSet::open).transpose()?;
        let rows: Vec<Row<Prompt>> = read_rows(&self.prompts)?;
        if let Some(blank) = rows.iter().find(|row| row.value.prompt.trim().is_empty()) {
            return Err(CliError::line(&self.prompts, blank.line, "`prompt` is empty"));
        }
        let prompts: Vec<String> = rows.iter().map(|row| row.value.prompt.clone()).collect();
        let (_device, model) = self.model.open(global)?;
        let format = chat_format(&model)?;
        let policy = self.adapter.read(&model)?;
        let policy = policy.as_ref().map(|adapter| &adapter.weights);
        let generator = self.cache.options(&model, self.batch.into());
        let reading = RewardOptions { any_base: self.adapter.any_base, ..RewardOptions::default() };
        let mut steered = SteeredModel::open(&model, policy, self.reward.as_deref(), generator, &reading)?;
        let options = CompareOptions {
            steering: Steering {
                principles,
                interventions,
                most: self.most_principles,
                tell: self.tell,
                ..Steering::default()
            },
            n: self.best_of.into(),
            block: self.guided.into(),
            sampling: self.sampling.sampling(self.sampling.seed),
            max_tokens: self.sampling.max_tokens,
            batch: self.batch.into(),
            methods: self.methods.clone(),
        };
        let bar = global.bar(Some(prompts.len() as u64), "{msg:>12} {bar:30} prompt {pos}/{len}");
        let report = interruptible(|token| {
            compare(&mut steered, format, &prompts, &options, token, &mut |method, done| {
                bar.set_message(method.to_owned());
                bar.set_position(done as u64);
            })
        });
        bar.finish_and_clear();
        let report = report.map_err(|error| match error {
            SteerError::Ask { ask, source } => CliError::line(&self.prompts, rows[ask].line, source),
            other => other.into(),
        })?;
        // First, because the files may not be writable any more after hours of work. One that fails does not keep
        // the next from being written.
        let printed = write!(terminal::stdout(), "{}", text(&report)).map_err(CliError::from);
        let json = json.map_or(Ok(()), |json| {
            json.write(|file| {
                serde_json::to_writer(&mut *file, &Written { written_by: PARR, report: &report })?;
                file.write_all(b"\n")
            })?;
            global.note(format!("wrote {}", json.path().display()));
            Ok(())
        });
        let page = page.map_or(Ok(()), |page| {
            page.write(|file| file.write_all(report.to_html().as_bytes()))?;
            global.note(format!("wrote {}", page.path().display()));
            Ok(())
        });
        json.and(page).and(printed)
    }
}

/// The report in a file, with the mark of an output.
#[derive(Serialize)]
struct Written<'a> {
    written_by: &'static str,
    #[serde(flatten)]
    report: &'a ComparisonReport,
}

/// The report for a terminal.
pub(super) fn text(report: &ComparisonReport) -> String {
    let mean = |mean: Option<Mean>| mean.map_or("-".to_owned(), |one| format!("{:.2}", one.mean));
    let mut table = Table::new(&[
        "method",
        "score",
        "+-",
        "better %",
        "tokens",
        "distinct %",
        "distance",
        "choice <=",
        "generated",
        "scored",
        "s",
    ]);
    for method in &report.methods {
        table.row([
            method.name.clone(),
            mean(method.score),
            method.score.map_or("-".to_owned(), |one| format!("{:.2}", one.error)),
            method.better.map_or("-".to_owned(), |rate| format!("{:.0}", 100.0 * rate.rate)),
            format!("{:.1}", method.reply_tokens.mean),
            format!("{:.0}", 100.0 * method.distinct_2),
            mean(method.divergence.map(|one| one.drawn)),
            method.divergence.map_or("-".to_owned(), |one| format!("{:.2}", one.choosing)),
            method.cost.generated_tokens.to_string(),
            method.cost.scored_tokens.to_string(),
            format!("{:.1}", method.cost.seconds),
        ]);
    }
    let mut text = table.to_string();
    text.push_str(&rates(report, "by program, %", |method| &method.checks));
    text.push_str(&rates(report, "by reward model, %", |method| &method.kept));
    text
}

/// How often the replies of each method follow each principle. Empty if nothing measured it.
fn rates(report: &ComparisonReport, title: &str, of: fn(&MethodReport) -> &Vec<CheckReport>) -> String {
    let Some(first) = report.methods.first().map(of).filter(|rates| !rates.is_empty()) else {
        return String::new();
    };
    let names: Vec<&str> = report.methods.iter().map(|method| method.name.as_str()).collect();
    let mut table = Table::new(&[&[title], &names[..]].concat());
    for (place, check) in first.iter().enumerate() {
        let rate = |method: &MethodReport| {
            of(method).get(place).map_or("-".to_owned(), |one| format!("{:.0}", 100.0 * one.rate.rate))
        };
        table.row([check.principle.clone()].into_iter().chain(report.methods.iter().map(rate)));
    }
    format!("\n{table}")
}

fn method(name: &str) -> Result<MethodKind, String> {
    MethodKind::from_name(name).ok_or_else(|| "expected prompt, best-of, guided or adapter".to_owned())
}
