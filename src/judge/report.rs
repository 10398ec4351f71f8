//! How often verdicts match the principle that a reply was written under.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::preferences::Comparison;

/// Verdicts under the principle that a reply was written under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WrittenReport {
    /// The principle's id.
    pub principle: String,
    /// Number of pairs with a reply that was written under it or under its negative.
    pub pairs: usize,
    /// Number of these whose verdict is for the reply that should follow it better.
    pub as_written: usize,
    /// Number of these whose verdict is for the other reply.
    pub against: usize,
}

/// Counts, for each principle that replies were written under, the verdicts that match and those that
/// contradict it, in the order of the ids. The remaining pairs are undecided or have no verdict.
pub fn written_report(comparisons: &[Comparison]) -> Vec<WrittenReport> {
    let mut reports: BTreeMap<&str, WrittenReport> = BTreeMap::new();
    for comparison in comparisons {
        let unders = comparison.replies.each_ref().map(|reply| reply.under.as_ref());
        let Some(principle) = unders.iter().flatten().next().map(|under| &under.principle) else { continue };
        // A plain reply ranks between one under the principle and one under its negative.
        let [first, second] = unders.map(|under| match under {
            Some(under) if under.principle == *principle => {
                if under.negated {
                    -1
                } else {
                    1
                }
            }
            _ => 0,
        });
        let report = reports.entry(principle).or_default();
        report.pairs += 1;
        let score = comparison.verdict(principle).map_or(0.0, |verdict| verdict.scores.agreed());
        let agrees = score * f64::from(first - second);
        report.as_written += usize::from(agrees > 0.0);
        report.against += usize::from(agrees < 0.0);
    }
    let named = |(principle, report): (&str, WrittenReport)| WrittenReport {
        principle: principle.to_owned(),
        ..report
    };
    reports.into_iter().map(named).collect()
}
