//! Shows the progress of a pipeline: the current stage, and its bar.

use std::io::IsTerminal;

use indicatif::ProgressBar;

use super::shown;
use crate::cli::GlobalArgs;
use crate::cli::align;
use crate::cli::reward::ahead as reward_ahead;
use crate::cli::self_align::ahead_of;
use crate::cli::sft;
use crate::cli::steer::text as comparison;
use crate::cli::training::{Screen as Training, Told};
use crate::judge::PreferenceProgress;
use crate::salmon::{Event, StageStatus};
use crate::self_align::SelfAlignProgress;

/// Number of alignment steps between two replies that are shown.
const SHOW_EVERY: u64 = 5;

/// Receives the events of a pipeline.
pub(super) struct Screen<'a> {
    global: &'a GlobalArgs,
    bar: ProgressBar,
    training: Training<'a>,
    /// Tenths of a stage's work that were printed, if standard error is not a terminal.
    tenths: usize,
}

impl<'a> Screen<'a> {
    pub fn new(global: &'a GlobalArgs) -> Self {
        Screen { global, bar: ProgressBar::hidden(), training: Training::new(global), tenths: 0 }
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
        // Without a length, so that the next event begins its own.
        self.bar = ProgressBar::hidden();
        self.training.clear();
    }

    pub fn hear(&mut self, event: Event<'_>) {
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
            Event::Asking(prospect) => {
                self.global.note(ahead_of(prospect));
                self.begin("prompts");
            }
            Event::Answered(SelfAlignProgress { done, prompts, kept, tokens }) => {
                let rate = self.rate(tokens);
                self.step(done, prompts, format!("{kept} kept, {rate:.0} tok/s"));
            }
            Event::Answers(report) => {
                self.clear();
                self.global.note(report.to_string());
            }
            Event::Distilling(prospect) => self.training.hear(sft::ahead(prospect)),
            Event::Judging(PreferenceProgress { done, all, tokens, .. }) => {
                if self.bar.length().is_none() {
                    self.begin("pairs");
                }
                let rate = self.rate(*tokens);
                self.step(*done, *all, format!("{tokens} tokens, {rate:.0} tok/s"));
            }
            Event::Judged(report) => {
                self.clear();
                let dropped = report.empty + report.identical + report.dropped_earlier;
                self.global.note(format!("{} comparisons, {dropped} pairs dropped", report.comparisons));
            }
            Event::Training(prospect) => self.training.hear(reward_ahead(prospect)),
            Event::Learning(progress) => self.training.hear(Told::Progress(progress)),
            Event::Measuring(done, all) => {
                if self.bar.length().is_none() {
                    self.begin("questions");
                }
                self.step(done, all, String::new());
            }
            Event::Aligning(prospect) => self.training.hear(align::ahead(prospect)),
            Event::Aligned(progress) => {
                align::tell(progress, SHOW_EVERY, &mut |told| self.training.hear(told));
            }
            Event::Comparing { method, done, of } => {
                if done == 0 {
                    self.clear();
                    self.begin("prompts");
                }
                self.step(done, of, method.to_owned());
            }
            Event::Compared(report) => {
                self.clear();
                self.global.note(comparison(report));
            }
            Event::Measured(report) => {
                self.clear();
                let tally = report.lists.all;
                self.global.note(format!(
                    "right on {} of {} held-out pairs under lists of principles; {} of {} flipped by negating one",
                    tally.right, tally.pairs, report.alone_flips.hits, report.alone_flips.of
                ));
            }
        }
    }

    fn begin(&mut self, things: &str) {
        self.tenths = 0;
        self.bar = self.global.bar(Some(0), &format!("{{bar:30}} {{pos}}/{{len}} {things}, {{msg}}"));
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
            self.global.note(format!("{done} of {all}, {message}"));
            self.tenths = tenths;
        }
        self.bar.set_message(message);
    }
}
