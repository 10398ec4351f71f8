//! The figures of how well a reward model reads sentences.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::ListReading;
use crate::attributes::{Accuracy, Case, CaseOptions, ListCase, Split};
use crate::report::{Calibration, correlation};

/// The figures of one attribute in one split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttributeReading {
    /// Its domain.
    pub domain: String,
    /// Under a sentence that asks for the attribute, the reply that has it scores higher.
    pub principle: Accuracy,
    /// Under a sentence that forbids it, the other reply scores higher.
    pub negative: Accuracy,
    /// Both, for a sentence of each kind.
    pub turned: Accuracy,
    /// Of a pointwise model: the sign of a score is right, under sentences of both kinds and for both replies.
    pub single: Accuracy,
}

impl AttributeReading {
    fn join(&mut self, other: &AttributeReading) {
        self.principle.join(other.principle);
        self.negative.join(other.negative);
        self.turned.join(other.turned);
        self.single.join(other.single);
    }
}

/// The figures of a split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitReading {
    /// The sums of all attributes.
    pub all: AttributeReading,
    /// The sums by domain.
    pub domains: BTreeMap<String, AttributeReading>,
    /// The attributes by id.
    pub attributes: BTreeMap<String, AttributeReading>,
}

/// How well a reward model reads sentences. `Display` prints a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadingReport {
    /// The seed of the pairs.
    pub seed: u64,
    /// Whether scores have a sign that means something: those of a pointwise model.
    pub pointwise: bool,
    /// The splits.
    pub splits: BTreeMap<Split, SplitReading>,
    /// Several replies under lists of principles, by split and length of the list.
    pub lists: BTreeMap<Split, BTreeMap<usize, ListReading>>,
    /// Of a pointwise model: whether the log-odds of single verdicts match how often replies keep a sentence.
    pub calibration: Option<Calibration>,
    /// Correlation between the length of a reply in characters and its score, under sentences about anything but
    /// length. Near 0 if the model does not simply like long replies. `None` without any.
    pub length_bias: Option<f64>,
    #[serde(skip)]
    lengths: Vec<[f64; 2]>,
    #[serde(skip)]
    verdicts: Vec<(f64, bool)>,
}

impl ReadingReport {
    pub(super) fn new(options: &CaseOptions, pointwise: bool) -> ReadingReport {
        ReadingReport {
            seed: options.seed,
            pointwise,
            splits: BTreeMap::new(),
            lists: BTreeMap::new(),
            calibration: None,
            length_bias: None,
            lengths: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, case: &Case<'_>, scores: &[Vec<f32>; 2]) {
        let [has, has_not] = scores;
        let n = case.want.len();
        let split = self.splits.entry(case.split).or_default();
        let figures = split.attributes.entry(case.attribute.id.clone()).or_default();
        figures.domain.clone_from(&case.attribute.domain);
        for at in 0..n {
            let principle = has[at] > has_not[at];
            let negative = has[n + at] < has_not[n + at];
            figures.principle.add(principle);
            figures.negative.add(negative);
            figures.turned.add(principle && negative);
            if self.pointwise {
                let verdicts =
                    [(has[at], true), (has_not[at], false), (has[n + at], false), (has_not[n + at], true)];
                for (odds, keeps) in verdicts {
                    figures.single.add((odds > 0.0) == keeps);
                    self.verdicts.push((f64::from(odds), keeps));
                }
            }
        }
        if case.attribute.domain != "length" {
            for (reply, scores) in case.replies.iter().zip(scores) {
                let mean = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
                self.lengths.push([reply.chars().count() as f64, mean]);
            }
        }
    }

    pub(super) fn add_list(&mut self, case: &ListCase<'_>, scores: &[f32]) {
        let split = self.lists.entry(case.split).or_default();
        split.entry(case.principles.len()).or_default().add(case, scores);
    }

    pub(super) fn finish(&mut self) {
        for split in self.splits.values_mut() {
            for figures in split.attributes.values() {
                split.all.join(figures);
                split.domains.entry(figures.domain.clone()).or_default().join(figures);
            }
        }
        self.length_bias = correlation(&self.lengths);
        self.calibration = self.pointwise.then(|| Calibration::of(&self.verdicts));
    }
}

impl fmt::Display for ReadingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:34}{:>17}{:>17}{:>17}{:>17}", "", "principle", "negative", "turned", "single")?;
        let mut row = |name: &str, figures: &AttributeReading| {
            let AttributeReading { principle, negative, turned, single, .. } = figures;
            writeln!(f, "{name:34}{principle:>17}{negative:>17}{turned:>17}{single:>17}")
        };
        for (split, figures) in &self.splits {
            row(split.name(), &figures.all)?;
            for (domain, figures) in &figures.domains {
                row(&format!("  {domain}"), figures)?;
            }
        }
        if !self.lists.is_empty() {
            writeln!(f, "\n{:34}{:>17}{:>17}{:>17}", "lists of principles", "pairs", "best", "tau")?;
        }
        for (split, lengths) in &self.lists {
            let mut all = ListReading::default();
            lengths.values().for_each(|figures| all.join(figures));
            let rows = lengths.iter().map(|(length, figures)| (format!("  {length} principles"), figures));
            for (name, figures) in std::iter::once((split.name().to_owned(), &all)).chain(rows) {
                let ListReading { pairs, best, .. } = figures;
                writeln!(f, "{name:34}{pairs:>17}{best:>17}{:>17.2}", figures.tau())?;
            }
        }
        if let Some(Calibration { expected_error, brier, .. }) = &self.calibration {
            writeln!(f, "calibration of single verdicts: error {expected_error:.3}, Brier score {brier:.3}")?;
        }
        match self.length_bias {
            Some(bias) => writeln!(f, "correlation of score and length: {bias:+.2}"),
            None => Ok(()),
        }
    }
}
