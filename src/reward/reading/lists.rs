//! How well the score under a list agrees with the number of principles that a reply keeps.

use serde::Serialize;

use crate::attributes::{Accuracy, ListCase};

/// Agreement of scores under lists of principles with the programs that count what each reply keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListReading {
    /// Of two replies that keep different numbers of principles, the one that keeps more scores higher.
    pub pairs: Accuracy,
    /// No reply keeps more principles than the one with the highest score.
    pub best: Accuracy,
    /// Sum of Kendall's tau-b of the scores and the numbers, over the cases.
    pub tau_sum: f64,
    /// Number of cases.
    pub cases: usize,
}

impl ListReading {
    /// Mean of Kendall's tau-b: 1 if all rankings agree, 0 for chance.
    pub fn tau(&self) -> f64 {
        if self.cases == 0 { 0.0 } else { self.tau_sum / self.cases as f64 }
    }

    /// Adds a case, with the score of each reply.
    pub(super) fn add(&mut self, case: &ListCase<'_>, scores: &[f32]) {
        let most = case.kept.iter().max();
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        self.best.add(best.map(|at| &case.kept[at]) == most);
        for (at, kept) in case.kept.iter().enumerate() {
            for (other, fewer) in case.kept.iter().enumerate() {
                if kept > fewer {
                    self.pairs.add(scores[at] > scores[other]);
                }
            }
        }
        self.tau_sum += tau_b(&case.kept, scores);
        self.cases += 1;
    }

    pub(super) fn join(&mut self, other: &ListReading) {
        self.pairs.join(other.pairs);
        self.best.join(other.best);
        self.tau_sum += other.tau_sum;
        self.cases += other.cases;
    }
}

/// Kendall's tau-b (1945). 0 if all of one side are equal.
fn tau_b(kept: &[usize], scores: &[f32]) -> f64 {
    let (mut sum, mut kept_pairs, mut score_pairs) = (0.0, 0.0, 0.0);
    for at in 0..kept.len() {
        for other in 0..at {
            let a = f64::from(kept[at].cmp(&kept[other]) as i8);
            let b = f64::from(scores[at].total_cmp(&scores[other]) as i8);
            sum += a * b;
            kept_pairs += a * a;
            score_pairs += b * b;
        }
    }
    let norm: f64 = kept_pairs * score_pairs;
    if norm > 0.0 { sum / norm.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_is_kendalls() {
        assert_eq!(tau_b(&[1, 2, 3], &[0.1, 0.2, 0.9]), 1.0);
        assert_eq!(tau_b(&[1, 2, 3], &[0.9, 0.2, 0.1]), -1.0);
        // One tie among the numbers: 5 of 5 pairs agree, of 6 pairs of scores.
        assert!((tau_b(&[1, 2, 2, 3], &[0.1, 0.2, 0.3, 0.4]) - 5.0 / 30f64.sqrt()).abs() < 1e-12);
        assert_eq!(tau_b(&[2, 2], &[0.1, 0.2]), 0.0);
    }
}
