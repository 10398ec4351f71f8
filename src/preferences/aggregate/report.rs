//! Counts of the aggregation, and how consistent the judge is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{DecidedBy, PreferencePair};
use crate::preferences::record::Comparison;

/// Counts of comparisons and pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AggregateReport {
    /// Number of comparisons.
    pub comparisons: usize,
    /// Number of comparisons that were left out because verdicts are missing.
    pub incomplete: usize,
    /// Number of pairs whose replies do not differ under the principles that were drawn.
    pub undecided: usize,
    /// Number of pairs that were dropped because neither reply is in the language of the prompt.
    pub foreign: usize,
    /// Number of pairs that a rule decided.
    pub ruled: usize,
    /// Number of pairs whose label was flipped on purpose.
    pub flipped: usize,
    /// Number of pairs to train on.
    pub train: usize,
    /// Number of held-out pairs.
    pub held_out: usize,
}

impl AggregateReport {
    /// Adds the counts of one more pass. The comparisons themselves are counted once.
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
        write!(f, "; {incomplete} comparisons lack verdicts, {undecided} pairs were undecided")?;
        write!(f, ", {foreign} were in other languages")
    }
}

/// How consistent a judge is under one principle.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PrincipleReport {
    /// The principle's id.
    pub principle: String,
    /// Number of verdicts under it.
    pub verdicts: usize,
    /// Fraction of verdicts that are the same in both orders.
    pub consistent: f64,
    /// Mean preference for the reply that is shown first, in units of the score.
    pub position_bias: f64,
    /// Fraction of consistent verdicts that prefer the first reply. About half if replies are in random
    /// order.
    pub first_wins: f64,
}

/// Returns how consistent the judge of these comparisons is under each principle, in the order of the ids.
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
        // 0 if no verdict is consistent.
        first_wins: sums.first_wins / sums.consistent.max(1.0),
    };
    reports.into_iter().map(finished).collect()
}
