//! Supervised learning: masked cross-entropy.

use super::{Evaluated, Objective, TokenStats};

/// `loss = -sum_t weight_t logprob_t / normalizer`: the cross-entropy of the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supervised;

/// The targets of a part of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupervisedBatch {
    /// Weight of each scored token (N): 1 for a target, 0 for a token that is scored for other reasons.
    pub weights: Vec<f32>,
    /// Sum of the weights over the whole step, not over this part. So the loss is the mean over the step's
    /// targets, however the step is divided into parts. Above 0.
    pub normalizer: f64,
}

impl SupervisedBatch {
    /// Creates a part of `n` targets with weight 1, of a step with `targets` targets.
    pub fn uniform(n: usize, targets: usize) -> SupervisedBatch {
        SupervisedBatch { weights: vec![1.0; n], normalizer: targets as f64 }
    }
}

impl Objective for Supervised {
    type Batch = SupervisedBatch;

    /// Adds `train/entropy`, the mean over the targets.
    fn evaluate(&self, stats: &TokenStats, batch: &SupervisedBatch) -> Evaluated {
        let SupervisedBatch { weights, normalizer } = batch;
        assert_eq!(weights.len(), stats.logprob.len(), "a weight for each scored token");
        debug_assert!(*normalizer > 0.0, "a step without targets");
        let mut evaluated = stats.zeros();
        let mut entropy = 0.0;
        for (at, &weight) in weights.iter().enumerate() {
            // A token with weight 0 could make the loss NaN: 0 times -infinity.
            if weight != 0.0 {
                let share = f64::from(weight) / normalizer;
                evaluated.loss -= share * f64::from(stats.logprob[at]);
                evaluated.d_logprob[at] = -share as f32;
                entropy += share * f64::from(stats.entropy[at]);
            }
        }
        evaluated.metrics = vec![("train/entropy", entropy)];
        evaluated
    }

    /// `train/perplexity`, which is `exp(loss)`.
    fn summarize(&self, loss: f64, _metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        vec![("train/perplexity", loss.exp())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{add_metrics, differences};
    use super::*;

    fn stats() -> TokenStats {
        TokenStats {
            logprob: vec![-0.25, -3.5, -1.0, -12.0, -0.001],
            entropy: vec![0.5, 2.0, 1.25, 4.0, 0.01],
            value: Vec::new(),
        }
    }

    #[test]
    fn the_loss_is_the_mean_over_the_targets() {
        let batch = SupervisedBatch { weights: vec![1.0, 0.0, 1.0, 0.0, 1.0], normalizer: 3.0 };
        let found = Supervised.evaluate(&stats(), &batch);
        assert!((found.loss - 1.251 / 3.0).abs() < 1e-9, "{}", found.loss);
        let third = -1.0 / 3.0;
        assert_eq!(found.d_logprob, [third, 0.0, third, 0.0, third]);
        assert_eq!((found.d_entropy, found.d_value), (vec![0.0; 5], vec![]));
        assert_eq!(found.metrics[0].0, "train/entropy");
        assert!((found.metrics[0].1 - 1.76 / 3.0).abs() < 1e-9);
        assert_eq!(Supervised.summarize(2.0, &[]), [("train/perplexity", 2f64.exp())]);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut stats = stats();
        stats.value = vec![0.5; 5];
        let batch = SupervisedBatch { weights: vec![1.0, 0.5, 0.0, 2.0, 1.0], normalizer: 4.5 };
        differences::check(&Supervised, &stats, &batch);
    }

    #[test]
    fn parts_add_up_to_the_whole_step() {
        let (stats, whole) = (stats(), Supervised.evaluate(&stats(), &SupervisedBatch::uniform(5, 5)));
        let (mut loss, mut d_logprob, mut metrics) = (0.0, Vec::new(), Vec::new());
        for range in [0..2, 2..3, 3..5] {
            let part = TokenStats {
                logprob: stats.logprob[range.clone()].to_vec(),
                entropy: stats.entropy[range.clone()].to_vec(),
                value: Vec::new(),
            };
            let part = Supervised.evaluate(&part, &SupervisedBatch::uniform(range.len(), 5));
            loss += part.loss;
            d_logprob.extend(part.d_logprob);
            add_metrics(&mut metrics, &part.metrics);
        }
        assert!((loss - whole.loss).abs() < 1e-12);
        assert_eq!(d_logprob, whole.d_logprob, "bit for bit");
        assert_eq!(metrics.len(), 1);
        assert!((metrics[0].1 - whole.metrics[0].1).abs() < 1e-12);
    }

    #[test]
    fn tokens_without_weight_cannot_spoil_the_loss_and_others_cannot_hide() {
        let mut stats = stats();
        stats.logprob[1] = f32::NEG_INFINITY;
        let mut batch = SupervisedBatch { weights: vec![1.0, 0.0, 1.0, 1.0, 1.0], normalizer: 4.0 };
        assert!(Supervised.evaluate(&stats, &batch).loss.is_finite());
        batch.weights[1] = 1.0;
        assert_eq!(Supervised.evaluate(&stats, &batch).loss, f64::INFINITY);
        stats.logprob[1] = f32::NAN;
        assert!(Supervised.evaluate(&stats, &batch).loss.is_nan());
    }
}
