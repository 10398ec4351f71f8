//! Yes or no: the score is the log-odds that the label is true.

use super::preference::{sigmoid, softplus};
use super::{Evaluated, Objective, TokenStats};

/// Binary cross-entropy on the scalar head, and a comparison of scores that should differ:
/// `loss = -sum (y log sigmoid(value) + (1 - y) log(1 - sigmoid(value))) / normalizer
/// - comparison * sum log sigmoid(value(higher) - value(lower)) / number of pairs`.
///
/// The second part is the loss of Bradley and Terry. A bias of all scores under one principle cancels in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Binary {
    /// Weight of the comparison. 0 leaves it out.
    pub comparison: f64,
}

/// The labels of a part of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryBatch {
    /// For each score, whether its label is true (N).
    pub labels: Vec<bool>,
    /// Number of labels of the whole step. Above 0.
    pub normalizer: f64,
    /// Indices of two scores of this part, of which the first should be higher.
    pub pairs: Vec<[usize; 2]>,
    /// Number of pairs of the whole step.
    pub n_pairs: f64,
}

impl Objective for Binary {
    type Batch = BinaryBatch;

    /// Adds means over the labels: `train/accuracy`, how often the sign of the score is right, and `train/score`, the
    /// mean of the scores, which shows a bias towards yes. And over the pairs, if there are any: `train/compared`,
    /// how often the higher score is the right one.
    fn evaluate(&self, stats: &TokenStats, batch: &BinaryBatch) -> Evaluated {
        let BinaryBatch { labels, normalizer, pairs, n_pairs } = batch;
        debug_assert!(*normalizer > 0.0, "a step without labels");
        debug_assert_eq!(labels.len(), stats.value.len(), "one score for each label");
        let mut evaluated = stats.zeros();
        let (mut accuracy, mut score) = (0.0, 0.0);
        let mut d_value = Vec::with_capacity(labels.len());
        for (&keeps, &value) in labels.iter().zip(&stats.value) {
            let value = f64::from(value);
            evaluated.loss += softplus(if keeps { -value } else { value }) / normalizer;
            d_value.push((sigmoid(value) - f64::from(u8::from(keeps))) / normalizer);
            accuracy += f64::from(u8::from((value > 0.0) == keeps)) / normalizer;
            score += value / normalizer;
        }
        let mut compared = 0.0;
        for &[higher, lower] in pairs {
            let gap = f64::from(stats.value[higher]) - f64::from(stats.value[lower]);
            let weight = self.comparison / n_pairs;
            evaluated.loss += weight * softplus(-gap);
            let slope = weight * sigmoid(-gap);
            d_value[higher] -= slope;
            d_value[lower] += slope;
            compared += f64::from(u8::from(gap > 0.0)) / n_pairs;
        }
        evaluated.d_value = d_value.into_iter().map(|slope| slope as f32).collect();
        evaluated.metrics = vec![("train/accuracy", accuracy), ("train/score", score)];
        if *n_pairs > 0.0 {
            evaluated.metrics.push(("train/compared", compared));
        }
        evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::super::differences;
    use super::*;

    fn evaluate(value: &[f32], labels: &[bool], pairs: &[[usize; 2]], comparison: f64) -> Evaluated {
        let n = value.len();
        let stats = TokenStats { logprob: vec![-1.0; n], entropy: vec![1.0; n], value: value.to_vec() };
        let (pairs, n_pairs) = (pairs.to_vec(), pairs.len() as f64);
        let batch = BinaryBatch { labels: labels.to_vec(), normalizer: n as f64, pairs, n_pairs };
        Binary { comparison }.evaluate(&stats, &batch)
    }

    #[test]
    fn losses_are_those_of_the_formula() {
        let found = evaluate(&[0.75, -2.0], &[true, true], &[], 1.0);
        // (ln(1 + exp(-0.75)) + ln(1 + exp(2))) / 2
        let expected = ((-0.75f64).exp().ln_1p() + 2f64.exp().ln_1p()) / 2.0;
        assert!((found.loss - expected).abs() < 1e-15, "{}", found.loss);
        assert_eq!(found.metrics, [("train/accuracy", 0.5), ("train/score", -0.625)]);
        assert!(evaluate(&[1e4, -1e4], &[true, false], &[], 1.0).loss.abs() < 1e-300);
        assert_eq!(evaluate(&[1e4], &[false], &[], 1.0).loss, 1e4);
        let compared = evaluate(&[0.75, -2.0], &[true, true], &[[0, 1], [1, 0]], 0.5);
        // Plus 0.5 (ln(1 + exp(-2.75)) + ln(1 + exp(2.75))) / 2
        let more = 0.5 * ((-2.75f64).exp().ln_1p() + 2.75f64.exp().ln_1p()) / 2.0;
        assert!((compared.loss - expected - more).abs() < 1e-15, "{}", compared.loss);
        assert_eq!(compared.metrics[2], ("train/compared", 0.5));
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let stats =
            TokenStats { logprob: vec![-1.0; 4], entropy: vec![1.0; 4], value: vec![0.4, 0.9, -1.3, -0.2] };
        let labels = vec![true, false, false, true];
        let batch = BinaryBatch { labels, normalizer: 6.0, pairs: vec![[0, 1], [3, 1]], n_pairs: 3.0 };
        differences::check(&Binary { comparison: 0.7 }, &stats, &batch);
    }
}
