//! What became of comparisons, and what they say of their judge.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{DecidedBy, PreferencePair};
use crate::preferences::record::Comparison;

/// What became of comparisons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AggregateReport {
    /// Comparisons that there were.
    pub comparisons: usize,
    /// Those that were left out because verdicts are missing.
    pub incomplete: usize,
    /// Pairs that nothing told apart under the principles that were drawn.
    pub undecided: usize,
    /// Pairs that were dropped because neither reply is in the language of the prompt.
    pub foreign: usize,
    /// Pairs that a rule decided.
    pub ruled: usize,
    /// Pairs whose label was flipped on purpose.
    pub flipped: usize,
    /// Pairs to train on.
    pub train: usize,
    /// Pairs that are held out.
    pub held_out: usize,
}

impl AggregateReport {
    /// Adds what became of the comparisons in one more pass; they themselves are counted once.
    pub(super) fn add(&mut self, pass: &AggregateReport) {
        self.undecided += pass.undecided;
        self.foreign += pass.foreign;
        self.ruled += pass.ruled;
        self.flipped += pass.flipped;
        self.train += pass.train;
        self.held_out += pass.held_out;
    }

    pub(super) fn count(&mut self, pair: &PreferencePair) {
        self.flipped += usize::from(pair.flipped);
        self.ruled += usize::from(!matches!(pair.decided_by, DecidedBy::Principle(_)));
    }
}

impl fmt::Display for AggregateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AggregateReport { train, held_out, ruled, flipped, incomplete, undecided, foreign, .. } = self;
        write!(
            f,
            "{train} pairs to train on, {held_out} held out; {ruled} decided by rules, {flipped} flipped"
        )?;
        write!(f, "; {incomplete} comparisons lack verdicts, {undecided} pairs were not told apart")?;
        write!(f, ", {foreign} were in other languages")
    }
}

/// How a judge does under one principle.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PrincipleReport {
    /// The principle's id.
    pub principle: String,
    /// Verdicts under it.
    pub verdicts: usize,
    /// The part of them that says the same in both orders.
    pub consistent: f64,
    /// Mean preference for the reply that is shown first, in units of the score.
    pub position_bias: f64,
    /// The part of consistent verdicts that prefer the first reply: about half if replies are in no order.
    pub first_wins: f64,
}

/// How the judge of these comparisons does under each principle, by id.
pub fn judge_report(comparisons: &[Comparison]) -> Vec<PrincipleReport> {
    let mut reports: BTreeMap<&str, PrincipleReport> = BTreeMap::new();
    for verdict in comparisons.iter().flat_map(|comparison| &comparison.verdicts) {
        let report = reports.entry(&verdict.principle).or_default();
        report.verdicts += 1;
        report.consistent += f64::from(u8::from(verdict.scores.agree()));
        report.position_bias += verdict.scores.position_bias();
        report.first_wins += f64::from(u8::from(verdict.scores.agreed() > 0.0));
    }
    let finished = |(principle, sums): (&str, PrincipleReport)| PrincipleReport {
        principle: principle.to_owned(),
        verdicts: sums.verdicts,
        consistent: sums.consistent / sums.verdicts as f64,
        position_bias: sums.position_bias / sums.verdicts as f64,
        // Without a consistent verdict there is nothing to prefer.
        first_wins: sums.first_wins / sums.consistent.max(1.0),
    };
    reports.into_iter().map(finished).collect()
}
