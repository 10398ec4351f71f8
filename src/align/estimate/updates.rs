//! The updates on one rollout.

use crate::train::objective::add_metrics;

/// How far beyond the target the KL of one update may be. 1.5 as in OpenAI's Spinning Up and in TRL.
const TOLERANCE: f64 = 1.5;

/// What the updates on one rollout reported, and whether there is to be another.
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
    /// None yet. Once an update finds the policy more than 1.5 times `target_kl` from the rollout, in nats a
    /// token, there is to be no other; infinite for never.
    pub fn new(target_kl: f64) -> Updates {
        Updates { target_kl, sum: Vec::new(), ratios: Vec::new(), taken: 0 }
    }

    /// Takes note of an update's figures, which were measured before it, and says whether there may be another
    /// as far as `policy/approxkl_avg` goes. One that is no number allows none.
    pub fn push(&mut self, metrics: &[(&'static str, f64)]) -> bool {
        let of = |wanted| metrics.iter().find(|(name, _)| *name == wanted).map(|&(_, value)| value);
        add_metrics(&mut self.sum, metrics);
        self.ratios.extend(of("val/ratio"));
        self.taken += 1;
        of("policy/approxkl_avg").is_none_or(|kl| kl <= TOLERANCE * self.target_kl)
    }

    /// Updates so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The mean of every figure over the updates, and `val/ratio_var`, the variance over them of `val/ratio`
    /// (with `n - 1`; 0 for one).
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
