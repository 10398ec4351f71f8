//! Shows the progress of a pipeline: the current stage, and its bar.

use std::io::IsTerminal;

use indicatif::ProgressBar;

use super::shown;
use crate::cli::GlobalArgs;
use crate::cli::screen::Screen as Training;
use crate::cli::steer::text as comparison_text;
use parr::salmon::{Event, StageStatus};
use parr::train::{self, Count, DataSummary, Items};

/// Steps of alignment between two replies that are shown.
const SHOW_EVERY: u64 = 5;

/// The screen of a pipeline.
pub(super) struct Screen<'a> {
    global: &'a GlobalArgs,
    bar: ProgressBar,
    training: Training<'a>,
    /// Tenths of a stage's work that were printed, if standard error is not a terminal.
    tenths: usize,
    /// Name of the items that the bar counts.
    things: &'static str,
}

impl<'a> Screen<'a> {
    pub fn new(global: &'a GlobalArgs) -> Self {
        Screen {
            global,
            bar: ProgressBar::hidden(),
            training: Training::new(global).show_every(SHOW_EVERY),
            tenths: 0,
            things: "",
        }
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
        // Without a length, so that the next event begins its own.
        self.bar = ProgressBar::hidden();
        self.training.clear();
    }

    pub fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Stage { stage, number, of, status, folder } => {
                self.clear();
                let action = match status {
                    StageStatus::Done => "skipped",
                    StageStatus::Pending => "starts",
                    StageStatus::Unfinished => "resumes",
                    StageStatus::Changed(_) => "runs again",
                    StageStatus::Damaged(_) => "rebuilds its files",
                    StageStatus::Waiting => "waits",
                };
                let folder = shown(folder);
                self.global.note(format!("stage {number} of {of}, {stage}: {status}; {action} in {folder}"));
            }
            Event::Run(train::Event::Counted(count)) => self.count(count),
            Event::Run(event) => {
                self.training.show(event);
                if let train::Event::Planned(plan) = event
                    && matches!(plan.data, DataSummary::InContext { .. })
                {
                    self.begin("prompts");
                }
            }
            Event::Answered(report) => {
                self.clear();
                self.global.note(report.to_string());
            }
            Event::Judged(report) => {
                self.clear();
                let dropped = report.empty + report.identical + report.dropped_earlier;
                self.global.note(format!("{} comparisons, {dropped} pairs dropped", report.comparisons));
            }
            Event::Evaluated(report) => {
                self.clear();
                let tally = report.lists.all;
                self.global.note(format!(
                    "right on {} of {} held-out pairs under lists of principles; {} of {} flipped by negating one",
                    tally.right, tally.pairs, report.alone_flips.hits, report.alone_flips.of
                ));
            }
            Event::Compared(report) => {
                self.clear();
                self.global.note(comparison_text(report));
            }
            // Events of a newer library.
            _ => {}
        }
    }

    /// Moves the bar of work that is counted.
    fn count(&mut self, count: Count<'_>) {
        let Count { done, of, kept, tokens, .. } = count;
        let fresh = self.bar.length().is_none();
        match count.what {
            Items::Prompts => {
                let rate = self.rate(tokens);
                self.step(done, of, format!("{kept} kept, {rate:.0} tok/s"));
            }
            Items::Pairs => {
                if fresh {
                    self.begin("pairs");
                }
                let rate = self.rate(tokens);
                self.step(done, of, format!("{tokens} tokens, {rate:.0} tok/s"));
            }
            Items::Scores => {
                if fresh {
                    self.begin("questions");
                }
                self.step(done, of, String::new());
            }
            Items::Method(method) => {
                if done == 0 {
                    self.clear();
                    self.begin("prompts");
                }
                self.step(done, of, method.to_owned());
            }
            // Counts of a newer library.
            _ => {}
        }
    }

    fn begin(&mut self, things: &'static str) {
        (self.tenths, self.things) = (0, things);
        self.bar = self.global.bar(Some(0), &format!("{{bar:30}} {{pos}}/{{len}} {things} {{msg}}"));
    }

    fn rate(&self, tokens: usize) -> f64 {
        tokens as f64 / self.bar.elapsed().as_secs_f64().max(1e-3)
    }

    /// Moves the bar. If standard error is not a terminal, prints a line at each tenth of the work.
    fn step(&mut self, done: usize, all: usize, message: String) {
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
        let tenths = (10 * done).checked_div(all).unwrap_or(0);
        if !std::io::stderr().is_terminal() && tenths > self.tenths {
            let message = if message.is_empty() { message.clone() } else { format!(", {message}") };
            self.global.note(format!("{done} of {all} {}{message}", self.things));
            self.tenths = tenths;
        }
        self.bar.set_message(message);
    }
}
