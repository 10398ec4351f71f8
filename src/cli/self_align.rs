//! `parr self-align`: a model writes its own first training answers, under rules that it reads.

use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::ModelArgs;
use super::screen::{Screen, watched};
use super::training::{note_adapter, print_sample, set};
use parr::preferences::Prompts;
use parr::self_align::{SelfAlign, SelfAlignConfig, SelfAlignReport};
use parr::settings::Auto;
use parr::settings::Settings;
use parr::train::{Control, DataSummary, Event};

const LONG_ABOUT: &str = "\
Writes a model's own first training answers (stage 0 of SALMON, arXiv
2310.05910). The model reads numbered rules and a few exemplars, writes which
rules apply, and then answers. Answers that pass the filters become training
rows, without the rules and exemplars. --distill trains an adapter on them, so
that the model answers in this way without the rules in its prompt.

Files in DIR:
  self-align.toml   the settings
  samples.jsonl     the result of each prompt
  rows.jsonl        the training rows
  report.json       how many answers were dropped, and why
With --distill, DIR also has the files of `parr sft`.

Ctrl-C stops. --resume continues, also after a crash, and gives bit-identical
results to an uninterrupted run.

A small model rarely follows the exemplars. Check the report before you train.";

const EXAMPLES: &str = "\
Examples:
  head -n 32 examples/prompts.jsonl > few.jsonl
  parr self-align --prompts few.jsonl --out runs/own
  parr self-align --prompts few.jsonl --out runs/own --resume --distill
  parr self-align --prompts mine.jsonl --out runs/mine \\
      --rules my-rules.toml --exemplars my-exemplars.toml
  parr self-align --print-config > self-align.toml    every setting, explained
  parr chat --adapter runs/own

Prompts, one JSON object per line:
  {\"id\": \"p1\", \"prompt\": \"Why does bread go stale?\"}";

/// Write a model's own first training answers, under rules
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct SelfAlignArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Prompts to answer, in JSON Lines
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    prompts: Option<PathBuf>,

    /// Folder of the run; it is created if it does not exist
    #[arg(long, value_name = "DIR", required_unless_present = "print_config")]
    out: Option<PathBuf>,

    /// Settings file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a settings file with every default explained, and stop
    #[arg(long)]
    print_config: bool,

    /// Resume the run in the folder, if there is one
    #[arg(long)]
    resume: bool,

    /// Train an adapter on the answers that were kept
    #[arg(long)]
    distill: bool,

    /// Rules: a set that comes with parr, or a file [default: self-align]
    #[arg(long, value_name = "SET|FILE")]
    rules: Option<String>,

    /// Exemplars: a set that comes with parr, or a file [default: self-align]
    #[arg(long, value_name = "NAME|FILE")]
    exemplars: Option<String>,

    /// Number of rules in the prompt [default: all that fit]
    #[arg(long, value_name = "N")]
    n_rules: Option<usize>,

    /// Number of exemplars in the prompt [default: all that fit]
    #[arg(long, value_name = "N")]
    n_exemplars: Option<usize>,

    /// Ask for answers without thoughts about the rules; better for a base of a few hundred million weights
    #[arg(long)]
    no_thoughts: bool,

    /// Prompts answered at the same time [default: 8]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Most tokens of the thoughts and the answer together [default: 256]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Sampling temperature; 0 always takes the most likely token [default: 0.7]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,

    /// Random seed; each answer's own seed is derived from it [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SelfAlignArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.print_config {
            return print_sample(SelfAlignConfig::SAMPLE);
        }
        let config = self.settings()?;
        config.validate()?;
        let needed = |flag: &str| CliError::Usage(format!("{flag} is needed"));
        let prompts = self.prompts.as_ref().ok_or_else(|| needed("--prompts"))?;
        let out = self.out.as_ref().ok_or_else(|| needed("--out"))?;
        config.validate()?;
        // Read first, to report a mistake in a file before the model is loaded.
        let (rules, exemplars) = config.open_rules()?;
        let prompts = Prompts::read(prompts)?;
        let (_device, model) = self.model.open(global)?;
        let run =
            SelfAlign::new(&model, &prompts, (&rules, &exemplars), out).config(&config).resume(self.resume);
        let report = sample(global, &run)?;
        global.note(report.to_string());
        global.note(format!("the rows are in {}", out.join(SelfAlign::ROWS).display()));
        if self.distill {
            let adapter = watched(Screen::new(global), |control, on_event| run.distill(control, on_event))?;
            note_adapter(global, &adapter, &self.model.model, out);
        }
        Ok(())
    }

    /// The settings of the file, overridden by the flags.
    fn settings(&self) -> Result<SelfAlignConfig, CliError> {
        let mut config = match &self.config {
            Some(path) => SelfAlignConfig::read(path)?,
            None => SelfAlignConfig::default(),
        };
        set(&mut config.seed, &self.seed);
        set(&mut config.rules, &self.rules);
        set(&mut config.exemplars, &self.exemplars);
        set(&mut config.n_rules, &self.n_rules.map(Auto::Fixed));
        set(&mut config.n_exemplars, &self.n_exemplars.map(Auto::Fixed));
        config.thoughts &= !self.no_thoughts;
        set(&mut config.batch, &self.batch);
        set(&mut config.sampling.max_tokens, &self.max_tokens);
        set(&mut config.sampling.temperature, &self.temperature);
        Ok(config)
    }
}

/// Samples the answers under a bar.
fn sample(global: &GlobalArgs, run: &SelfAlign<'_>) -> Result<SelfAlignReport, CliError> {
    let bar = global.bar(None, "{bar:30} {pos}/{len} prompts, {msg}");
    let mut screen = Screen::new(global);
    let report = interruptible(|token| {
        run.sample(&Control::new(token), &mut |event| match event {
            Event::Planned(plan) => {
                screen.show(event);
                bar.set_length(plan.count as u64);
                if let DataSummary::InContext { answered, .. } = plan.data {
                    bar.set_position(answered as u64);
                }
            }
            Event::Counted(count) => {
                let (kept, tokens) = (count.kept, count.tokens);
                let rate = tokens as f64 / count.seconds.max(1e-3);
                bar.set_position(count.done as u64);
                bar.set_message(format!("{kept} kept, {tokens} tokens, {rate:.0} tok/s"));
            }
            _ => {}
        })
    });
    bar.finish_and_clear();
    let report = report.map_err(CliError::from);
    if matches!(report, Err(CliError::Interrupted)) {
        global.note("stopped; --resume continues the run");
    }
    report
}
