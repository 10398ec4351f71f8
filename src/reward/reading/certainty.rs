//! Whether a model's certainty about a sentence predicts that it reads it.

use std::fmt;

use serde::Serialize;

use super::scores;
use crate::attributes::{Accuracy, AttributeSet, CaseOptions, PlainReply, Split, cases};
use crate::generate::CancelToken;
use crate::reward::{RewardError, RewardModel};

/// Sentences that are scored together, because they share the tokens of the replies that certainty is measured on. More
/// would only make progress and cancels coarser.
const TOGETHER: usize = 16;
/// Fewest sentences that a bound is based on.
const FEWEST: usize = 20;
/// A sentence counts as hardly read if those of its certainty or less are right at most this often.
const HARDLY: f64 = 0.6;

/// How the certainty about sentences of held-out attributes goes with reading them. `Display` prints a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CertaintyReport {
    /// Seed of the pairs.
    pub seed: u64,
    /// The quarters of the sentences, from the least certainty on: the highest certainty in each, and how often the
    /// right reply scores higher (under a sentence that asks) or lower (under one that forbids).
    pub quarters: Vec<(f32, Accuracy)>,
    /// Probability that a sentence that is read right has a higher certainty than one that is read wrong. 0.5 is chance.
    pub auc: f64,
    /// Below this certainty, sentences are right at most 60% of the time. `None` if there is no such bound for at
    /// least 20 sentences.
    pub unclear_below: Option<f32>,
}

/// Measures [`RewardModel::certainty`] of `model` on sentences about attributes of `set` that it was not trained on, and
/// compares it with verdicts on pairs of edited `replies`. `on_done` receives the numbers of sentences done, and of
/// all.
///
/// # Errors
///
/// * [`RewardError::Nothing`] if no pair can be made, or for a pairwise model;
/// * those of [`RewardModel::score`].
pub fn measure_certainty(
    model: &mut RewardModel,
    set: &AttributeSet,
    replies: &[PlainReply],
    options: &CaseOptions,
    cancel: &CancelToken,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<CertaintyReport, RewardError> {
    let mut cases = cases(set, &[], replies, options);
    cases.retain(|case| matches!(case.split, Split::NewAttribute | Split::NewDomain));
    if cases.is_empty() {
        let reason = "no pair of replies could be made: there are too few replies or attributes".to_owned();
        return Err(RewardError::Nothing { reason });
    }
    let all: usize = cases.iter().map(|case| case.want.len() + case.avoid.len()).sum();
    let mut verdicts: Vec<(&str, bool)> = Vec::new();
    for case in &cases {
        let [has, has_not] = scores(model, case, cancel)?;
        for (at, sentence) in case.want.iter().chain(&case.avoid).enumerate() {
            let right = if at < case.want.len() { has[at] > has_not[at] } else { has[at] < has_not[at] };
            verdicts.push((sentence, right));
        }
        on_done(verdicts.len() / 2, all);
    }
    let mut measured: Vec<(f32, bool)> = Vec::with_capacity(verdicts.len());
    for some in verdicts.chunks(TOGETHER) {
        let sentences: Vec<&str> = some.iter().map(|(sentence, _)| *sentence).collect();
        let certainty = model.certainty(&sentences, cancel)?;
        measured.extend(certainty.into_iter().zip(some.iter().map(|(_, right)| *right)));
        on_done((all + measured.len()) / 2, all);
    }
    Ok(CertaintyReport::of(options.seed, measured))
}

impl CertaintyReport {
    fn of(seed: u64, mut measured: Vec<(f32, bool)>) -> CertaintyReport {
        measured.sort_by(|one, other| one.0.total_cmp(&other.0));
        let n = measured.len();
        let quarter = |at: usize| {
            let part = &measured[at * n / 4..(at + 1) * n / 4];
            let mut right = Accuracy::default();
            part.iter().for_each(|(_, is_right)| right.add(*is_right));
            Some((part.last()?.0, right))
        };
        let mut unclear_below = None;
        let mut below = Accuracy::default();
        for (at, (_, right)) in measured.iter().enumerate() {
            below.add(*right);
            let next = measured.get(at + 1);
            if below.of >= FEWEST && below.part() <= HARDLY {
                unclear_below = next.map(|(certainty, _)| *certainty);
            }
        }
        CertaintyReport {
            seed,
            quarters: (0..4).filter_map(quarter).collect(),
            auc: auc(&measured),
            unclear_below,
        }
    }
}

/// Area under the ROC curve of `measured`, which is in order: the part of the pairs of a right and a wrong one in which
/// the right one comes later, with half of the ties.
fn auc(measured: &[(f32, bool)]) -> f64 {
    let (mut wrong, mut sum) = (0.0, 0.0);
    let mut at = 0;
    while at < measured.len() {
        let ties = measured[at..].iter().take_while(|one| one.0 == measured[at].0).count();
        let tied_right = measured[at..at + ties].iter().filter(|one| one.1).count() as f64;
        let tied_wrong = ties as f64 - tied_right;
        sum += tied_right * (wrong + tied_wrong / 2.0);
        wrong += tied_wrong;
        at += ties;
    }
    let right = measured.len() as f64 - wrong;
    if wrong == 0.0 || right == 0.0 { 0.5 } else { sum / (wrong * right) }
}

impl fmt::Display for CertaintyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>15}{:>18}", "certainty up to", "right")?;
        for (up_to, right) in &self.quarters {
            writeln!(f, "{up_to:>15.2}{right:>18}")?;
        }
        writeln!(f, "probability that a sentence read right has the higher certainty: {:.2}", self.auc)?;
        match self.unclear_below {
            Some(bound) => writeln!(f, "hardly read below a certainty of {bound:.2}"),
            None => writeln!(f, "no certainty below which sentences are hardly read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_ends_the_sentences_that_are_read_by_chance() {
        // The first 24 alternate, the other 24 are right.
        let measured = (0..48).rev().map(|at| (at as f32, at >= 24 || at % 2 == 0)).collect();
        let report = CertaintyReport::of(0, measured);
        let [first, _, _, last] = &report.quarters[..] else { panic!("{report}") };
        assert_eq!((first.0, first.1.part(), last.0, last.1.part()), (11.0, 0.5, 47.0, 1.0));
        // 12 of 24 and 6 more: 18 of 30 are 60%.
        assert_eq!(report.unclear_below, Some(30.0));
        assert!(report.auc > 0.8 && report.auc < 1.0, "{}", report.auc);
        let sure = CertaintyReport::of(0, (0..48).map(|at| (at as f32, true)).collect());
        assert_eq!((sure.unclear_below, sure.auc), (None, 0.5));
    }

    #[test]
    fn ties_count_half() {
        assert_eq!(auc(&[(1.0, false), (1.0, true)]), 0.5);
        assert_eq!(auc(&[(1.0, false), (2.0, true)]), 1.0);
        assert_eq!(auc(&[(1.0, true), (2.0, false), (2.0, true)]), 0.25);
    }
}
