//! Preferences: the better of two answers should have the larger score.

use super::{Evaluated, Objective, TokenStats};

/// Bradley and Terry's model on the scalar head (arXiv 2203.02155, equation 1):
/// `loss = -sum_pairs log sigmoid(value_chosen - value_rejected) / normalizer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preference;

/// Two answers, as indices of their scores among the scored tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Index of the better answer's score.
    pub chosen: usize,
    /// Index of the other answer's score.
    pub rejected: usize,
}

/// The pairs of a part of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreferenceBatch {
    /// The pairs. Both answers of a pair are in this part. A score may be in several pairs.
    pub pairs: Vec<Pair>,
    /// Number of pairs of the whole step. Above 0.
    pub normalizer: f64,
}

impl Objective for Preference {
    type Batch = PreferenceBatch;

    /// Adds means over the pairs: `train/accuracy`, how often the chosen answer has the larger score, and
    /// `train/margin`, the difference of the scores. Names and formulas are those of TRL's reward trainer.
    fn evaluate(&self, stats: &TokenStats, batch: &PreferenceBatch) -> Evaluated {
        let PreferenceBatch { pairs, normalizer } = batch;
        debug_assert!(*normalizer > 0.0, "a step without pairs");
        let mut evaluated = stats.zeros();
        let mut d_value = vec![0.0; stats.value.len()];
        let (mut accuracy, mut margin) = (0.0, 0.0);
        for &Pair { chosen, rejected } in pairs {
            let apart = f64::from(stats.value[chosen]) - f64::from(stats.value[rejected]);
            evaluated.loss += softplus(-apart) / normalizer;
            let d_apart = -sigmoid(-apart) / normalizer;
            d_value[chosen] += d_apart;
            d_value[rejected] -= d_apart;
            accuracy += f64::from(u8::from(apart > 0.0)) / normalizer;
            margin += apart / normalizer;
        }
        evaluated.d_value = d_value.into_iter().map(|d| d as f32).collect();
        evaluated.metrics = vec![("train/accuracy", accuracy), ("train/margin", margin)];
        evaluated
    }
}

/// `ln(1 + exp(x))`, exact for large positive and negative `x`, because the argument of `exp` is never above
/// 0.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + exp(-x))`, computed in the same way.
pub(super) fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

#[cfg(test)]
mod tests {
    use super::super::differences;
    use super::*;

    fn evaluate(value: &[f32], pairs: &[(usize, usize)]) -> Evaluated {
        let n = value.len();
        let stats = TokenStats { logprob: vec![-1.0; n], entropy: vec![1.0; n], value: value.to_vec() };
        Preference.evaluate(&stats, &batch(pairs))
    }

    fn batch(pairs: &[(usize, usize)]) -> PreferenceBatch {
        let pairs: Vec<Pair> = pairs.iter().map(|&(chosen, rejected)| Pair { chosen, rejected }).collect();
        PreferenceBatch { normalizer: pairs.len() as f64, pairs }
    }

    #[test]
    fn losses_are_those_of_the_formula() {
        let found = evaluate(&[1.0, 0.25], &[(0, 1)]);
        // -log(1 / (1 + exp(-0.75)))
        assert!((found.loss - 0.386_871_006_114_899_9).abs() < 1e-15, "{}", found.loss);
        assert_eq!(found.d_value[0], -found.d_value[1]);
        assert_eq!(found.metrics, [("train/accuracy", 1.0), ("train/margin", 0.75)]);
        let equal = evaluate(&[2.0, 2.0], &[(0, 1)]);
        assert!((equal.loss - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(equal.d_value, [-0.5, 0.5]);
        assert_eq!(equal.metrics[0].1, 0.0, "a draw is not right");
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let stats = TokenStats {
            logprob: vec![-1.0; 6],
            entropy: vec![1.0; 6],
            value: vec![0.5, -1.25, 3.0, 0.0, 2.5, -7.0],
        };
        // One score in three pairs, one in none.
        differences::check(&Preference, &stats, &batch(&[(0, 1), (2, 0), (0, 4), (5, 2)]));
    }

    #[test]
    fn scores_far_apart_stay_numbers() {
        for apart in [1e3f32, 1e30, f32::MAX] {
            let right = evaluate(&[apart, -1.0], &[(0, 1)]);
            assert_eq!((right.loss, right.d_value[0]), (0.0, -0.0));
            let wrong = evaluate(&[-1.0, apart], &[(0, 1)]);
            assert_eq!(wrong.d_value, [-1.0, 1.0]);
            assert_eq!(wrong.loss, f64::from(apart) + 1.0);
        }
        // Where exp(-x) is below the unit roundoff of 1, the loss is still not 0.
        assert!(evaluate(&[40.0, 0.0], &[(0, 1)]).loss > 4e-18);
        assert!(evaluate(&[f32::NAN, 0.0], &[(0, 1)]).loss.is_nan(), "NaN is not hidden");
    }

    #[test]
    fn parts_add_up_to_the_whole_step() {
        let value = [0.5, -1.25, 3.0, 0.0];
        let whole = evaluate(&value, &[(0, 1), (3, 2)]);
        let part = |value: &[f32]| {
            let stats = TokenStats { value: value.to_vec(), ..TokenStats::default() };
            let pairs = vec![Pair { chosen: 0, rejected: 1 }];
            Preference.evaluate(&stats, &PreferenceBatch { pairs, normalizer: 2.0 })
        };
        let (first, second) = (part(&value[..2]), part(&[value[3], value[2]]));
        assert!((first.loss + second.loss - whole.loss).abs() < 1e-12);
        assert_eq!(
            [first.d_value[0], first.d_value[1], second.d_value[1], second.d_value[0]],
            *whole.d_value
        );
    }
}
