//! Advantages from the comparison of replies to one prompt, which GRPO and RLOO use instead of a critic.

use serde::{Deserialize, Serialize};

/// One reply of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplyTokens {
    /// Index of its first real token among the scored tokens. The other tokens follow it.
    pub first: usize,
    /// Log-probability of each real token at the rollout, in nats (T).
    pub old_logprobs: Vec<f64>,
    /// The reference's log-probability of each real token, in nats (T). Empty if the loss has no KL.
    pub ref_logprobs: Vec<f64>,
    /// Advantage of the reply over its group (A).
    pub advantage: f64,
}

/// The replies of a part of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupBatch {
    /// Replies (B).
    pub replies: Vec<ReplyTokens>,
    /// Number of replies of the whole step, not of this part. Above 0.
    pub n_replies: f64,
    /// Number of real tokens of the whole step. Above 0.
    pub n_tokens: f64,
}

/// Divisor of a group's deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupScale {
    /// The group's standard deviation, as in the paper (arXiv 2402.03300, section 4.1.2).
    #[default]
    Group,
    /// No divisor. Dividing gives the largest weight to prompts that are nearly always, or nearly never,
    /// answered well (arXiv 2503.20783, section 3.1).
    None,
}

/// Added to a group's standard deviation, in the units of the reward. As in TRL.
const EPSILON: f64 = 1e-4;

/// Returns GRPO's advantages: each reward minus its group's mean. With [`GroupScale::Group`], it is divided
/// by the group's standard deviation (with `n - 1`).
///
/// `rewards` (B) holds consecutive groups of `size`. A group of equal rewards gets zeros.
///
/// # Panics
///
/// If `size` is 0 or does not divide the number of rewards.
pub fn group_advantages(rewards: &[f64], size: usize, scale: GroupScale) -> Vec<f64> {
    let groups = groups(rewards, size);
    let advantages = groups.flat_map(|group| {
        let mean = group.iter().sum::<f64>() / size as f64;
        let squares: f64 = group.iter().map(|reward| (reward - mean).powi(2)).sum();
        let spread = (squares / (size as f64 - 1.0).max(1.0)).sqrt();
        let divisor = match scale {
            GroupScale::Group => spread + EPSILON,
            GroupScale::None => 1.0,
        };
        group.iter().map(move |reward| (reward - mean) / divisor)
    });
    advantages.collect()
}

/// Returns RLOO's advantages: each reward minus the mean of the others in its group (arXiv 2402.14740).
///
/// `rewards` (B) holds consecutive groups of `size`. The others' mean does not depend on the reply itself, so
/// the expected gradient does not change.
///
/// # Panics
///
/// If `size` is below 2 or does not divide the number of rewards.
pub fn leave_one_out(rewards: &[f64], size: usize) -> Vec<f64> {
    assert!(size > 1, "a reply needs others to be compared with");
    let advantages = groups(rewards, size).flat_map(|group| {
        let sum: f64 = group.iter().sum();
        group.iter().map(move |reward| reward - (sum - reward) / (size as f64 - 1.0))
    });
    advantages.collect()
}

fn groups(rewards: &[f64], size: usize) -> std::slice::Chunks<'_, f64> {
    assert!(size > 0 && rewards.len().is_multiple_of(size), "{} rewards in groups of {size}", rewards.len());
    rewards.chunks(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        }
    }

    #[test]
    fn groups_are_compared_within_themselves() {
        let rewards = [1.0, 3.0, 10.0, 10.0];
        close(&group_advantages(&rewards, 2, GroupScale::None), &[-1.0, 1.0, 0.0, 0.0]);
        let one = 1.0 / (2f64.sqrt() + 1e-4);
        close(&group_advantages(&rewards, 2, GroupScale::Group), &[-one, one, 0.0, 0.0]);
        close(&group_advantages(&[4.0], 1, GroupScale::Group), &[0.0]);
    }

    #[test]
    fn leave_one_out_is_the_distance_from_the_others() {
        close(&leave_one_out(&[1.0, 2.0, 6.0, 5.0, 5.0, 5.0], 3), &[-3.0, -1.5, 4.5, 0.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "3 rewards in groups of 2")]
    fn half_a_group_is_refused() {
        leave_one_out(&[1.0, 2.0, 3.0], 2);
    }
}
