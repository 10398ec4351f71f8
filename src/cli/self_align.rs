//! `parr self-align`: a model's own first training answers, under rules that it reads.

use std::path::PathBuf;

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::ModelArgs;
use super::screen::{Screen, watched};
use super::training::{note_adapter, print_sample, set};
use crate::preferences::Prompts;
use crate::self_align::{SelfAlign, SelfAlignConfig, SelfAlignReport};
use crate::settings::Auto;
use crate::settings::Settings;
use crate::train::{Control, DataSummary, Event};

const LONG_ABOUT: &str = "\
Lets a model write its own first training answers: it reads numbered rules and a few exemplars, thinks aloud
about which rules matter, and answers. Answers that pass the filters become rows to learn from, without rules
and exemplars. --distill trains an adapter on them, so that the model answers so without being told (stage 0
of SALMON, arXiv 2310.05910).

DIR holds the settings (self-align.toml), what became of each prompt (samples.jsonl), the rows (rows.jsonl),
how many answers were dropped and why (report.json), and with --distill what `parr sft` writes. Ctrl-C stops;
--resume goes on, also after a crash, and ends with the same bytes as a run that was never interrupted.

A small model follows the exemplars seldom: look at the report before you train.";

const EXAMPLES: &str = "\
Examples:
  head -n 32 examples/prompts.jsonl > few.jsonl
  parr self-align --prompts few.jsonl --out runs/own
  parr self-align --prompts few.jsonl --out runs/own --resume --distill
  parr self-align --prompts mine.jsonl --rules my-rules.toml --exemplars my-exemplars.toml --out runs/mine
  parr self-align --print-config > self-align.toml        every setting, explained
  parr chat --adapter runs/own

Prompts, one JSON object a line:
  {\"id\": \"p1\", \"prompt\": \"Why does bread go stale?\"}";

/// Let a model write its own first training answers, under rules
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct SelfAlignArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// JSON Lines of prompts
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    prompts: Option<PathBuf>,

    /// Folder of the run
    #[arg(long, value_name = "DIR", required_unless_present = "print_config")]
    out: Option<PathBuf>,

    /// Settings; the flags below overrule them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a settings file that says what every setting does, and stop
    #[arg(long)]
    print_config: bool,

    /// Go on with what is in the folder, if there is something
    #[arg(long)]
    resume: bool,

    /// Train an adapter on the answers that were kept
    #[arg(long)]
    distill: bool,

    /// Rules: a set that comes with parr, or a file
    #[arg(long, value_name = "SET|FILE")]
    rules: Option<String>,

    /// Exemplars: those that come with parr, or a file
    #[arg(long, value_name = "NAME|FILE")]
    exemplars: Option<String>,

    /// Rules in the prompt [default: all that fit]
    #[arg(long, value_name = "N")]
    n_rules: Option<usize>,

    /// Exemplars in the prompt [default: all that fit]
    #[arg(long, value_name = "N")]
    n_exemplars: Option<usize>,

    /// Prompts that run side by side
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Most tokens of thoughts and answer together
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// 0 takes the likeliest token every time; higher is more varied
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,

    /// Every answer's seed follows from it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SelfAlignArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.print_config {
            return print_sample(SelfAlignConfig::SAMPLE);
        }
        let config = self.settings()?;
        let needed = |flag: &str| CliError::Usage(format!("{flag} is needed"));
        let prompts = self.prompts.as_ref().ok_or_else(|| needed("--prompts"))?;
        let out = self.out.as_ref().ok_or_else(|| needed("--out"))?;
        config.validate()?;
        // Read first: a mistake in a file should not wait for the model.
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

    /// The settings of the file, with the flags over them.
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
