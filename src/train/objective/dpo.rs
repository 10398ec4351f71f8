//! Direct preference optimization: the policy is its own reward model (arXiv 2305.18290).

use std::ops::Range;

use super::preference::{sigmoid, softplus};
use super::{Evaluated, Objective, TokenStats};

/// `loss = -sum_pairs log sigmoid(h) / normalizer`, `h = beta ((log pi(c) - log ref(c)) - (log pi(r) - log
/// ref(r)))` for a chosen reply `c` and a rejected reply `r`. Log-probabilities are summed over the real
/// tokens of a reply (equation 7 of the paper).
///
/// With `label_smoothing` `e` the loss is `-(1 - e) log sigmoid(h) - e log sigmoid(-h)`. It assumes that
/// labels are wrong with probability `e` (conservative DPO: Mitchell, "A note on DPO with noisy preferences",
/// 2023). 0 as in the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpo {
    /// Strength of the KL constraint to the reference (0.1 in the paper's appendix B).
    pub beta: f64,
    /// Probability that a label is wrong, below 0.5.
    pub label_smoothing: f64,
}

/// Two replies to one prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DpoPair {
    /// Indices of the better reply's real tokens among the scored tokens.
    pub chosen: Range<usize>,
    /// Indices of the other reply's real tokens.
    pub rejected: Range<usize>,
    /// The reference's log-probability of the whole better reply, in nats.
    pub ref_chosen: f64,
    /// The reference's log-probability of the whole other reply, in nats.
    pub ref_rejected: f64,
}

/// The pairs of a part of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DpoBatch {
    /// The pairs. Both replies of a pair are in this part.
    pub pairs: Vec<DpoPair>,
    /// Number of pairs of the whole step. Above 0.
    pub normalizer: f64,
}

impl Objective for Dpo {
    type Batch = DpoBatch;

    /// Adds means over the pairs, under TRL's names: `rewards/chosen` and `rewards/rejected`, the implied
    /// rewards `beta (log pi - log ref)`; `rewards/margins`, their difference; `rewards/accuracies`, how
    /// often that difference is above 0; `logps/chosen` and `logps/rejected`.
    fn evaluate(&self, stats: &TokenStats, batch: &DpoBatch) -> Evaluated {
        let DpoBatch { pairs, normalizer } = batch;
        debug_assert!(*normalizer > 0.0, "a step without pairs");
        let Dpo { beta, label_smoothing: wrong } = *self;
        let mut evaluated = stats.zeros();
        let (mut accuracy, mut rewards, mut logps) = (0.0, [0.0; 2], [0.0; 2]);
        for pair in pairs {
            let sum = |tokens: &Range<usize>| -> f64 {
                stats.logprob[tokens.clone()].iter().map(|&logprob| f64::from(logprob)).sum()
            };
            let logprobs = [sum(&pair.chosen), sum(&pair.rejected)];
            let implied = [beta * (logprobs[0] - pair.ref_chosen), beta * (logprobs[1] - pair.ref_rejected)];
            let margin = implied[0] - implied[1];
            evaluated.loss += ((1.0 - wrong) * softplus(-margin) + wrong * softplus(margin)) / normalizer;
            let d_margin = wrong * sigmoid(margin) - (1.0 - wrong) * sigmoid(-margin);
            let d_logprob = (beta * d_margin / normalizer) as f32;
            evaluated.d_logprob[pair.chosen.clone()].fill(d_logprob);
            evaluated.d_logprob[pair.rejected.clone()].fill(-d_logprob);
            accuracy += f64::from(u8::from(margin > 0.0)) / normalizer;
            for side in 0..2 {
                rewards[side] += implied[side] / normalizer;
                logps[side] += logprobs[side] / normalizer;
            }
        }
        evaluated.metrics = vec![
            ("rewards/chosen", rewards[0]),
            ("rewards/rejected", rewards[1]),
            ("rewards/margins", rewards[0] - rewards[1]),
            ("rewards/accuracies", accuracy),
            ("logps/chosen", logps[0]),
            ("logps/rejected", logps[1]),
        ];
        evaluated
    }
}

#[cfg(test)]
mod tests {
    use super::super::differences;
    use super::*;

    const DPO: Dpo = Dpo { beta: 0.1, label_smoothing: 0.0 };

    fn stats() -> TokenStats {
        TokenStats {
            logprob: vec![-1.0, -0.5, -2.0, -3.0, -0.25, -1.5],
            entropy: vec![1.0; 6],
            value: Vec::new(),
        }
    }

    fn batch() -> DpoBatch {
        let pairs = vec![
            DpoPair { chosen: 0..2, rejected: 2..3, ref_chosen: -1.75, ref_rejected: -1.0 },
            DpoPair { chosen: 5..6, rejected: 3..5, ref_chosen: -1.0, ref_rejected: -9.0 },
        ];
        DpoBatch { pairs, normalizer: 2.0 }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for (beta, label_smoothing) in [(0.1, 0.0), (2.0, 0.0), (0.5, 0.1)] {
            differences::check(&Dpo { beta, label_smoothing }, &stats(), &batch());
        }
    }

    #[test]
    fn a_policy_that_is_its_reference_is_undecided() {
        let mut batch = batch();
        for pair in &mut batch.pairs {
            let sum = |tokens: Range<usize>| stats().logprob[tokens].iter().map(|&l| f64::from(l)).sum();
            (pair.ref_chosen, pair.ref_rejected) = (sum(pair.chosen.clone()), sum(pair.rejected.clone()));
        }
        let found = DPO.evaluate(&stats(), &batch);
        assert!((found.loss - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(found.d_logprob[..3], [-0.025, -0.025, 0.025]);
        assert_eq!(found.metrics[2], ("rewards/margins", 0.0));
        assert_eq!(found.metrics[3], ("rewards/accuracies", 0.0));
    }

    #[test]
    fn figures_are_those_of_the_formula() {
        let found = DPO.evaluate(&stats(), &batch());
        let near = |name: &str, expected: f64| {
            let value = found.metrics.iter().find(|(known, _)| *known == name).expect("reported").1;
            assert!((value - expected).abs() < 1e-12, "{name} is {value}, expected {expected}");
        };
        // Implied rewards: 0.025 and -0.1; -0.05 and 0.575.
        near("rewards/chosen", -0.0125);
        near("rewards/rejected", 0.2375);
        near("rewards/accuracies", 0.5);
        near("logps/chosen", -1.5);
        let loss = (1.0 + (-0.125f64).exp()).ln() / 2.0 + (1.0 + 0.625f64.exp()).ln() / 2.0;
        assert!((found.loss - loss).abs() < 1e-12);
    }
}
