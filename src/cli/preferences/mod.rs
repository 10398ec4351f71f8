//! `parr preferences`: samples replies, judges them under principles, and records the verdicts.

mod report;

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::{AdapterArgs, ModelArgs};
use super::terminal;
use super::training::set;
use parr::hub;
use parr::judge::{
    AdaptedModel, JudgeKind, PreferenceConfig, PreferenceReport, PreferenceRun, ReplyPlan, TooLong, Verdicts,
};
use parr::preferences::{Comparison, Prompts, read_records};
use parr::principles::PrincipleSet;
use parr::settings::Settings;
use parr::train::{Control, Count, Event};

const LONG_ABOUT: &str = "\
Samples replies to prompts, compares them under principles, and records the
verdicts. `parr reward train` trains on them. No human preferences are needed
(SALMON, arXiv 2310.05910).

Plans for the replies (--replies):
  sample     plain replies that differ by their seed
  contrast   a reply under a principle, and one under its negative
  mix        a reply under a principle or its negative, and a plain one
  edit       two versions of one plain reply, edited by a program

Judges (--judge):
  contrast   how much more likely a reply is under a principle than under its
             negative
  ab         SALMON's judge: the model names the better reply, in both orders
  check      the program that a principle names

FILE gets one comparison per line. After a stop or a crash, the same command
resumes, and the file is bit-identical to that of an uninterrupted run.
FILE.toml records the model, the principles and the settings.";

const EXAMPLES: &str = "\
Examples:
  parr preferences --prompts examples/prompts.jsonl --out judged.jsonl
  parr preferences --prompts examples/prompts.jsonl --out style.jsonl \\
      --principles style --replies contrast --judge check --pairs 4 \\
      --max-tokens 64 --languages en
  parr preferences --prompts mine.jsonl --out mine.judged.jsonl \\
      --principles mine.toml --replies mix --pairs 2 --own
  parr preferences --prompts mine.jsonl --out judged.jsonl \\
      --principles reward style:style-concise
  parr preferences --print-config > preferences.toml    every setting, explained
  parr preferences report judged.jsonl
  parr reward train --comparisons judged.jsonl --out runs/reward

Prompts, one JSON object per line:
  {\"id\": \"p1\", \"type\": \"general\", \"language\": \"en\", \"prompt\": \"Name a river.\"}
`type` (general, reasoning or red-team) and `language` are optional.";

/// Sample replies, judge them under principles, record the verdicts
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct PreferencesArgs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    collect: CollectArgs,
}

#[derive(Subcommand)]
enum Command {
    Report(report::ReportArgs),
}

#[derive(Args)]
struct CollectArgs {
    /// Prompts to reply to, in JSON Lines
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    prompts: Option<PathBuf>,

    /// File for the comparisons, in JSON Lines; if it exists, the run resumes
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    out: Option<PathBuf>,

    /// Principles: sets that come with parr, or files, joined [default: reward]
    #[arg(long, value_name = "SET|FILE[:ID,ID]", num_args = 1..)]
    principles: Option<Vec<String>>,

    /// Plan for the replies [default: sample]
    #[arg(long, value_name = "PLAN")]
    replies: Option<PlanName>,

    /// Judge that compares the replies [default: contrast]
    #[arg(long, value_name = "JUDGE")]
    judge: Option<JudgeName>,

    /// Model that judges the replies: a name or a path, as for --model [default: the model that replies]
    #[arg(long, value_name = "MODEL")]
    judge_model: Option<String>,

    /// Judge each pair only under the principle that it was written under, not under all
    #[arg(long)]
    own: bool,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Settings file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a settings file with every setting explained, and stop
    #[arg(long)]
    print_config: bool,

    /// Replies per prompt, with --replies sample [default: 2]
    #[arg(long, value_name = "N")]
    count: Option<usize>,

    /// Pairs per prompt, with the other plans [default: 1]
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,

    /// Most tokens of a reply [default: 256]
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<usize>,

    /// Sampling temperature [default: 0.7]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,

    /// Use the first N prompts; a resumed run may use more [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Use prompts in these languages, as ISO 639-1 codes [default: all]
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    languages: Option<Vec<String>>,

    /// Leave out prompts that do not fit into the context, instead of stopping
    #[arg(long)]
    skip_long: bool,

    /// Sequences computed at the same time [default: 16]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Seed of all random choices [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PlanName {
    Sample,
    Contrast,
    Mix,
    Edit,
}

impl From<PlanName> for ReplyPlan {
    fn from(name: PlanName) -> ReplyPlan {
        match name {
            PlanName::Sample => ReplyPlan::Sample,
            PlanName::Contrast => ReplyPlan::Contrast,
            PlanName::Mix => ReplyPlan::Mix,
            PlanName::Edit => ReplyPlan::Edit,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum JudgeName {
    Ab,
    Contrast,
    Check,
}

impl From<JudgeName> for JudgeKind {
    fn from(name: JudgeName) -> JudgeKind {
        match name {
            JudgeName::Ab => JudgeKind::Ab,
            JudgeName::Contrast => JudgeKind::Contrast,
            JudgeName::Check => JudgeKind::Check,
        }
    }
}

impl PreferencesArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        match self.command {
            Some(Command::Report(args)) => args.run(),
            None => self.collect.run(global),
        }
    }
}

impl CollectArgs {
    fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.print_config {
            return Ok(terminal::stdout().write_all(PreferenceConfig::SAMPLE.as_bytes())?);
        }
        let (Some(prompts), Some(out)) = (&self.prompts, &self.out) else {
            return Err(CliError::Usage("--prompts and --out are needed".to_owned()));
        };
        let config = self.settings()?;
        config.validate()?;
        // Read first, to report a mistake in a file before the model is loaded.
        let principles = PrincipleSet::open_all(&config.principles)?;
        let prompts = Prompts::read(prompts)?;
        let (device, model) = self.model.open(global)?;
        let load = |name: &String| self.model.load(&hub::resolve(name)?, &device, global);
        let judge = self.judge_model.as_ref().map(load).transpose()?;
        let adapter = self.adapter.attach(&model)?;
        let speaker =
            AdaptedModel { model: &model, adapter: adapter.as_ref().map(|(bank, adapter)| (bank, *adapter)) };
        let mut run = PreferenceRun::new(speaker, &prompts, &principles, out).config(&config);
        if let Some(judge) = &judge {
            run = run.judge_model(judge);
        }
        let mut screen = Screen::new(global);
        let done = interruptible(|token| {
            run.run(&Control::new(token), &mut |event| {
                if let Event::Counted(count) = event {
                    screen.show(count);
                }
            })
        });
        screen.bar.finish_and_clear();
        match done {
            Ok(report) => {
                global.note(summary(&report));
                let comparisons: Vec<Comparison> = read_records(out)?;
                // The work is done, so a closed standard output is no error.
                let _ = write!(terminal::stdout(), "{}", report::table(&comparisons));
                Ok(())
            }
            Err(error) => {
                let error = CliError::from(error);
                if matches!(error, CliError::Interrupted) {
                    global.note("stopped; run the same command again to resume");
                }
                Err(error)
            }
        }
    }

    /// The settings of the file, overridden by the flags.
    fn settings(&self) -> Result<PreferenceConfig, CliError> {
        let mut config = match &self.config {
            Some(path) => PreferenceConfig::read(path)?,
            None => PreferenceConfig::default(),
        };
        set(&mut config.seed, &self.seed);
        set(&mut config.principles, &self.principles);
        set(&mut config.judge, &self.judge.map(JudgeKind::from));
        set(&mut config.prompts.limit, &self.limit);
        set(&mut config.prompts.languages, &self.languages);
        set(&mut config.replies.plan, &self.replies.map(ReplyPlan::from));
        set(&mut config.replies.count, &self.count);
        set(&mut config.replies.pairs, &self.pairs);
        set(&mut config.replies.max_tokens, &self.max_tokens);
        set(&mut config.replies.temperature, &self.temperature);
        set(&mut config.batch.slots, &self.batch);
        if self.own {
            config.verdicts = Verdicts::Own;
        }
        if self.skip_long {
            config.prompts.too_long = TooLong::Skip;
        }
        Ok(config)
    }
}

/// The result of a run in one line.
fn summary(report: &PreferenceReport) -> String {
    let PreferenceReport { prompts, comparisons, earlier, empty, identical, dropped_earlier, .. } = report;
    let mut text = format!("{comparisons} comparisons of replies to {prompts} prompts");
    let mut add = |count: usize, what: &str| {
        if count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    };
    add(*earlier, "of them from earlier runs");
    add(*empty, "pairs left out because a reply is empty");
    add(*identical, "pairs left out because the replies are the same");
    add(report.not_edited, "pairs left out because no program could edit the reply");
    add(*dropped_earlier, "pairs left out by earlier runs");
    add(report.too_long, "prompts left out because they do not fit");
    add(report.cut, "replies ended at --max-tokens");
    if report.tokens > 0 {
        let rate = report.tokens as f64 / report.seconds;
        text.push_str(&format!("; {} tokens in {:.0} s, {rate:.1} tok/s", report.tokens, report.seconds));
    }
    text
}

/// Time between two lines if standard error is not a terminal.
const QUIET: Duration = Duration::from_secs(30);

/// Shows the progress of a run: a bar, or a line now and then if standard error is not a terminal.
struct Screen<'a> {
    global: &'a GlobalArgs,
    bar: ProgressBar,
    terminal: bool,
    /// When the last line was printed.
    printed: Instant,
    /// Number of pairs that were done when this run began, once it is known.
    before: Option<usize>,
}

impl Screen<'_> {
    fn new(global: &GlobalArgs) -> Screen<'_> {
        let bar = global.bar(None, "{bar:30} pair {pos}/{len}, {msg}, {eta} left");
        Screen { global, bar, terminal: stderr().is_terminal(), printed: Instant::now(), before: None }
    }

    fn show(&mut self, count: Count<'_>) {
        let Count { done, of: all, tokens, seconds, .. } = count;
        if tokens == 0 || self.before.is_none() {
            // Pairs of earlier runs do not count towards this run's speed.
            self.before = Some(done);
            self.bar.set_length(all as u64);
            self.bar.set_position(done as u64);
            self.bar.reset_eta();
        }
        let rate = tokens as f64 / seconds.max(1e-9);
        self.bar.set_message(format!("{rate:.1} tok/s"));
        self.bar.set_position(done as u64);
        if !self.terminal && self.printed.elapsed() >= QUIET {
            self.printed = Instant::now();
            let own = done - self.before.unwrap_or(0);
            let left = match own {
                0 => String::new(),
                _ => format!(", {:.0} s left", (all - done) as f64 * seconds / own as f64),
            };
            self.global.note(format!("pair {done}/{all}, {tokens} tokens, {rate:.1} tok/s{left}"));
        }
    }
}
