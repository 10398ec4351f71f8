//! Yes or no: the score is the log-odds that the label is true.

use super::preference::{sigmoid, softplus};
use super::{Evaluated, Objective, TokenStats};

/// Binary cross-entropy on the scalar head:
/// `loss = -sum (y log sigmoid(value) + (1 - y) log(1 - sigmoid(value))) / normalizer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binary;

/// The labels of a part of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryBatch {
    /// For each score, whether its label is true (N).
    pub labels: Vec<bool>,
    /// Number of labels of the whole step. Above 0.
    pub normalizer: f64,
}

impl Objective for Binary {
    type Batch = BinaryBatch;

    /// Adds means over the labels: `train/accuracy`, how often the sign of the score is right, and `train/score`, the
    /// mean of the scores, which shows a bias towards yes.
    fn evaluate(&self, stats: &TokenStats, batch: &BinaryBatch) -> Evaluated {
        let BinaryBatch { labels, normalizer } = batch;
        debug_assert!(*normalizer > 0.0, "a step without labels");
        debug_assert_eq!(labels.len(), stats.value.len(), "one score for each label");
        let mut evaluated = stats.zeros();
        let (mut accuracy, mut score) = (0.0, 0.0);
        let mut d_value = Vec::with_capacity(labels.len());
        for (&keeps, &value) in labels.iter().zip(&stats.value) {
            let value = f64::from(value);
            evaluated.loss += softplus(if keeps { -value } else { value }) / normalizer;
            d_value.push(((sigmoid(value) - f64::from(u8::from(keeps))) / normalizer) as f32);
            accuracy += f64::from(u8::from((value > 0.0) == keeps)) / normalizer;
            score += value / normalizer;
        }
        evaluated.d_value = d_value;
        evaluated.metrics = vec![("train/accuracy", accuracy), ("train/score", score)];
        evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::super::differences;
    use super::*;

    fn evaluate(value: &[f32], labels: &[bool]) -> Evaluated {
        let n = value.len();
        let stats = TokenStats { logprob: vec![-1.0; n], entropy: vec![1.0; n], value: value.to_vec() };
        Binary.evaluate(&stats, &BinaryBatch { labels: labels.to_vec(), normalizer: n as f64 })
    }

    #[test]
    fn losses_are_those_of_the_formula() {
        let found = evaluate(&[0.75, -2.0], &[true, true]);
        // (ln(1 + exp(-0.75)) + ln(1 + exp(2))) / 2
        let expected = ((-0.75f64).exp().ln_1p() + 2f64.exp().ln_1p()) / 2.0;
        assert!((found.loss - expected).abs() < 1e-15, "{}", found.loss);
        assert_eq!(found.metrics, [("train/accuracy", 0.5), ("train/score", -0.625)]);
        assert!(evaluate(&[1e4, -1e4], &[true, false]).loss.abs() < 1e-300);
        assert_eq!(evaluate(&[1e4], &[false]).loss, 1e4);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let stats =
            TokenStats { logprob: vec![-1.0; 4], entropy: vec![1.0; 4], value: vec![0.4, 0.9, -1.3, -0.2] };
        let batch = BinaryBatch { labels: vec![true, false, false, true], normalizer: 6.0 };
        differences::check(&Binary, &stats, &batch);
    }
}
