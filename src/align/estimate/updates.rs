//! The updates on one rollout.

use crate::train::objective::add_metrics;

/// Largest ratio of the KL of an update to the target. 1.5 as in OpenAI's Spinning Up and in TRL.
const TOLERANCE: f64 = 1.5;

/// Figures of the updates on one rollout, and whether another update is allowed.
///
/// ```
/// use parr::align::estimate::Updates;
///
/// let mut updates = Updates::new(0.02);
/// assert!(updates.push(&[("policy/approxkl_avg", 0.0), ("val/ratio", 1.0)]));
/// assert!(!updates.push(&[("policy/approxkl_avg", 0.04), ("val/ratio", 1.2)]));
/// assert_eq!(updates.figures()[0], ("policy/approxkl_avg", 0.02));
/// ```
#[derive(Clone, Debug)]
pub struct Updates {
    target_kl: f64,
    sum: Vec<(&'static str, f64)>,
    ratios: Vec<f64>,
    taken: usize,
}

impl Updates {
    /// Starts without updates. No further update is allowed once the KL of the policy from the rollout
    /// exceeds 1.5 times `target_kl`, in nats per token. Infinite disables this.
    pub fn new(target_kl: f64) -> Updates {
        Updates { target_kl, sum: Vec::new(), ratios: Vec::new(), taken: 0 }
    }

    /// Records the figures of an update, which were measured before it. Returns whether `policy/approxkl_avg`
    /// allows another update. NaN does not allow one.
    pub fn push(&mut self, metrics: &[(&'static str, f64)]) -> bool {
        let of = |wanted| metrics.iter().find(|(name, _)| *name == wanted).map(|&(_, value)| value);
        add_metrics(&mut self.sum, metrics);
        self.ratios.extend(of("val/ratio"));
        self.taken += 1;
        of("policy/approxkl_avg").is_none_or(|kl| kl <= TOLERANCE * self.target_kl)
    }

    /// Number of updates so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Mean of each figure over the updates, and `val/ratio_var`, the variance of `val/ratio` over the
    /// updates (with `n - 1`, and 0 for one update).
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let n = self.taken.max(1) as f64;
        let mut figures: Vec<_> = self.sum.iter().map(|&(name, sum)| (name, sum / n)).collect();
        if !self.ratios.is_empty() {
            let mean = self.ratios.iter().sum::<f64>() / self.ratios.len() as f64;
            let squares: f64 = self.ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
            figures.push(("val/ratio_var", squares / (self.ratios.len() as f64 - 1.0).max(1.0)));
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_means_over_the_updates() {
        let mut updates = Updates::new(f64::INFINITY);
        for (loss, ratio) in [(1.0, 1.0), (0.5, 1.25), (0.0, 0.75)] {
            assert!(updates.push(&[("loss/policy_avg", loss), ("val/ratio", ratio)]));
        }
        assert_eq!(updates.taken(), 3);
        let expected = [("loss/policy_avg", 0.5), ("val/ratio", 1.0), ("val/ratio_var", 0.0625)];
        assert_eq!(updates.figures(), expected);
        let mut one = Updates::new(f64::INFINITY);
        one.push(&[("val/ratio", 1.0)]);
        assert_eq!(one.figures()[1], ("val/ratio_var", 0.0));
        assert_eq!(Updates::new(1.0).figures(), []);
    }

    /// In SALMON's code `target_kl` is a setting that nothing reads.
    #[test]
    fn target_kl_ends_the_updates_on_a_rollout() {
        let goes_on = |target, kl| Updates::new(target).push(&[("policy/approxkl_avg", kl)]);
        assert!(goes_on(0.02, 0.03) && !goes_on(0.02, 0.0301));
        assert!(goes_on(f64::INFINITY, 1e9));
        assert!(!goes_on(f64::INFINITY, f64::NAN) && !goes_on(0.02, f64::NAN));
    }
}
