//! Generalized advantage estimation over the real tokens of a reply.

/// Advantages and returns of one reply (arXiv 1506.02438, equation 16):
///
/// * `delta_t = reward_t + gamma V_{t+1} - V_t`, where `V` after the last real token is 0;
/// * `A_t = delta_t + gamma lambda A_{t+1}`;
/// * `G_t = A_t + V_t`.
///
/// `t + 1` is the next *real* token. Other tokens are not read, and their advantage and return are 0.
///
/// # Shapes
///
/// `rewards`, `values`, `real` and both results (T), with pads.
///
/// # Panics
///
/// If they are of different lengths.
///
/// ```
/// use parr::align::estimate::gae;
///
/// // With gamma = lambda = 1 a return is the sum of the rewards from its token on.
/// let (advantages, returns) = gae(&[0.0, 1.0, 9.0, 2.0], &[0.5; 4], &[true, true, false, true], 1.0, 1.0);
/// assert_eq!(returns, [3.0, 3.0, 0.0, 2.0]);
/// assert_eq!(advantages, [2.5, 2.5, 0.0, 1.5]);
/// ```
pub fn gae(rewards: &[f64], values: &[f64], real: &[bool], gamma: f64, lambda: f64) -> (Vec<f64>, Vec<f64>) {
    let n = real.len();
    assert!(rewards.len() == n && values.len() == n, "a reward and a value for each token");
    let (mut advantages, mut returns) = (vec![0.0; n], vec![0.0; n]);
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for at in (0..n).rev().filter(|&at| real[at]) {
        let delta = rewards[at] + gamma * next_value - values[at];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = values[at];
        advantages[at] = next_advantage;
        returns[at] = next_advantage + values[at];
    }
    (advantages, returns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REWARDS: [f64; 5] = [-0.1, 0.2, 0.0, -0.3, 2.0];
    const VALUES: [f64; 5] = [0.4, -0.5, 0.25, 1.0, 0.75];

    /// `A_t` written out as the paper's sum of discounted deltas.
    #[test]
    fn it_is_the_discounted_sum_of_temporal_differences() {
        let (gamma, lambda) = (0.97, 0.9);
        let (advantages, returns) = gae(&REWARDS, &VALUES, &[true; 5], gamma, lambda);
        for t in 0..5 {
            let delta = |l: usize| REWARDS[l] + gamma * VALUES.get(l + 1).unwrap_or(&0.0) - VALUES[l];
            let sum: f64 = (t..5).map(|l| (gamma * lambda).powi((l - t) as i32) * delta(l)).sum();
            assert!((advantages[t] - sum).abs() < 1e-14, "token {t}");
            assert!((returns[t] - sum - VALUES[t]).abs() < 1e-14, "token {t}");
        }
    }

    #[test]
    fn lambda_one_is_monte_carlo_and_lambda_zero_one_step_ahead() {
        let (_, returns) = gae(&REWARDS, &VALUES, &[true; 5], 1.0, 1.0);
        for t in 0..5 {
            assert!((returns[t] - REWARDS[t..].iter().sum::<f64>()).abs() < 1e-14, "suffix sums");
        }
        let (advantages, _) = gae(&REWARDS, &VALUES, &[true; 5], 0.5, 0.0);
        assert!((advantages[1] - (0.2 + 0.5 * 0.25 + 0.5)).abs() < 1e-14);
    }

    #[test]
    fn what_stands_at_pads_changes_nothing() {
        let real = [true, true, false, true, false, true, true, false];
        let spread = |values: &[f64; 5]| {
            let mut values = values.iter();
            real.map(|real| if real { *values.next().expect("five are real") } else { f64::NAN })
        };
        let (advantages, returns) = gae(&spread(&REWARDS), &spread(&VALUES), &real, 0.97, 0.9);
        let (dense, dense_returns) = gae(&REWARDS, &VALUES, &[true; 5], 0.97, 0.9);
        let kept = |values: Vec<f64>| -> Vec<f64> {
            values.iter().zip(real).filter(|(_, real)| *real).map(|(&value, _)| value).collect()
        };
        assert!(advantages.iter().zip(real).all(|(&advantage, real)| real || advantage == 0.0));
        assert_eq!((kept(advantages), kept(returns)), (dense, dense_returns), "bit for bit");
    }

    #[test]
    fn a_reply_without_tokens_has_no_advantages() {
        assert_eq!(gae(&[], &[], &[], 1.0, 1.0), (vec![], vec![]));
        assert_eq!(gae(&[f64::NAN], &[f64::NAN], &[false], 1.0, 1.0), (vec![0.0], vec![0.0]));
    }
}
