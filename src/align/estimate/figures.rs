//! The figures of a rollout, from its traces and rewards.

use super::{Rewards, Trace};
use crate::train::metrics::RolloutFigures;
use crate::train::objective::KlEstimator;

impl RolloutFigures {
    /// The figures of replies with `rewards`, under a KL penalty of `coefficient` by `estimator`. `ended`
    /// marks the replies that end with an end-of-turn token (B). [`RolloutFigures::principles`] is empty.
    ///
    /// # Panics
    ///
    /// If the columns are of different lengths.
    pub fn new(
        traces: &[Trace],
        rewards: &Rewards,
        ended: &[bool],
        estimator: KlEstimator,
        coefficient: f64,
    ) -> RolloutFigures {
        assert!(rewards.total.len() == traces.len() && ended.len() == traces.len(), "one of each per reply");
        let n = traces.len().max(1) as f64;
        let mean = |of: &dyn Fn(&Trace) -> f64| traces.iter().map(of).sum::<f64>() / n;
        let scores = rewards.total.iter().sum::<f64>() / n;
        let non_score_reward = -coefficient * mean(&|trace| trace.kl(estimator));
        let share = |(name, share): &(String, Vec<f64>)| {
            (format!("objective/reward/{name}"), share.iter().sum::<f64>() / n)
        };
        RolloutFigures {
            kl: mean(&|trace| trace.kl(KlEstimator::K1)),
            entropy: mean(&|trace| trace.places().map(|at| -trace.logprob[at]).sum()),
            non_score_reward,
            scores,
            rlhf_reward: scores + non_score_reward,
            kl_coefficient: coefficient,
            mean_length: mean(&|trace| trace.n_real() as f64),
            n_ended: ended.iter().filter(|&&ended| ended).count(),
            shares: rewards.shares.iter().map(share).collect(),
            principles: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_means_over_replies_and_pads_are_not_in_them() {
        let trace = |logprob: &[f64], ref_logprob: &[f64]| Trace {
            real: vec![true, logprob.len() > 1, false],
            logprob: logprob.iter().copied().chain([f64::NAN; 2]).take(3).collect(),
            ref_logprob: ref_logprob.iter().copied().chain([f64::NAN; 2]).take(3).collect(),
            ..Trace::default()
        };
        let traces = [trace(&[-1.0, -2.0], &[-1.5, -1.75]), trace(&[-0.5], &[-1.25])];
        let shares = vec![("rm".to_owned(), vec![2.0, 4.0]), ("length".to_owned(), vec![-1.0, 0.0])];
        let rewards = Rewards { total: vec![1.0, 4.0], shares, parts: Vec::new() };
        let found = RolloutFigures::new(&traces, &rewards, &[true, false], KlEstimator::K1, 0.5);
        let expected = [
            ("objective/kl", 0.5),
            ("objective/entropy", 1.75),
            ("objective/non_score_reward", -0.25),
            ("objective/rlhf_reward", 2.25),
            ("objective/scores", 2.5),
            ("objective/kl_coef", 0.5),
            ("completions/mean_length", 1.5),
            ("val/num_eos_tokens", 1.0),
            ("objective/reward/rm", 3.0),
            ("objective/reward/length", -0.5),
        ];
        assert_eq!(found.tags(), expected);
        // Another estimator changes the penalty, not the reported KL.
        let other = RolloutFigures::new(&traces, &rewards, &[true, false], KlEstimator::K2, 0.5);
        assert_eq!(other.kl, found.kl);
        assert_ne!(other.non_score_reward, found.non_score_reward);
    }
}
