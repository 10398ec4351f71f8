//! Statistics of a row of logits for one token: its log-probability, and the row's entropy.

/// Statistics of one row of logits under the plain softmax, in nats.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct TokenStats {
    /// Log-probability of the given token.
    pub logprob: f32,
    /// Entropy of the whole distribution.
    pub entropy: f32,
    /// Log of the sum of the exponentials of the logits.
    pub log_sum_exp: f32,
}

/// Statistics of `token` under `softmax(logits)`. For a temperature other than 1, divide the logits by it
/// first, and divide the gradient by it once more.
///
/// # Shapes
///
/// `logits` `(vocab)`.
pub fn token_stats(logits: &[f32], token: u32) -> TokenStats {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let mut sum = 0.0;
    let mut weighted = 0.0;
    for &logit in logits.iter().filter(|l| **l > f32::NEG_INFINITY) {
        let shifted = f64::from(logit) - top;
        sum += shifted.exp();
        weighted += shifted * shifted.exp();
    }
    TokenStats {
        logprob: (f64::from(logits[token as usize]) - top - sum.ln()) as f32,
        entropy: (sum.ln() - weighted / sum) as f32,
        log_sum_exp: (top + sum.ln()) as f32,
    }
}

/// The gradient of `d_logprob * logprob + d_entropy * entropy` with respect to the logits, where the
/// two are those of [`token_stats`]. A `token` outside the vocabulary has no log-probability; only
/// the entropy counts.
///
/// With `p` the softmax and `H` its entropy:
/// `d_logit[i] = d_logprob (1[i = token] - p[i]) - d_entropy p[i] (log p[i] + H)`.
///
/// # Shapes
///
/// `logits` and result `(vocab)`.
pub fn token_stats_backward(logits: &[f32], token: u32, d_logprob: f32, d_entropy: f32) -> Vec<f32> {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = logits.iter().map(|&logit| (f64::from(logit) - top).exp()).sum::<f64>().ln();
    let logprobs: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) - top - log_sum).collect();
    let entropy = -logprobs.iter().map(|logprob| logprob.exp() * logprob).sum::<f64>();
    let d_logprob = if (token as usize) < logits.len() { f64::from(d_logprob) } else { 0.0 };
    let slope = |(i, logprob): (usize, &f64)| {
        let p = logprob.exp();
        let hit = if i == token as usize { 1.0 } else { 0.0 };
        (d_logprob * (hit - p) - f64::from(d_entropy) * p * (logprob + entropy)) as f32
    };
    logprobs.iter().enumerate().map(slope).collect()
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values};
    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_both() {
        let logits: Vec<f32> = values(1, 9).iter().map(|v| 3.0 * v).collect();
        for (d_logprob, d_entropy) in [(1.0, 0.0), (0.0, 1.0), (-0.7, 0.4)] {
            let gradient = token_stats_backward(&logits, 4, d_logprob, d_entropy);
            assert_gradient(&logits, &gradient, |logits| {
                let stats = token_stats(logits, 4);
                f64::from(d_logprob) * f64::from(stats.logprob)
                    + f64::from(d_entropy) * f64::from(stats.entropy)
            });
        }
        // A token outside the vocabulary leaves only the entropy's part.
        let outside = token_stats_backward(&logits, 9, 5.0, 0.4);
        assert_eq!(outside, token_stats_backward(&logits, 4, 0.0, 0.4));
    }

    #[test]
    fn a_flat_row_has_the_entropy_of_its_length() {
        let stats = token_stats(&[2.5; 8], 3);
        assert!((stats.entropy - 8f32.ln()).abs() < 1e-6);
        assert!((stats.logprob + 8f32.ln()).abs() < 1e-6);
        assert!((stats.log_sum_exp - 2.5 - 8f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_forbidden_token_adds_nothing() {
        let stats = token_stats(&[0.0, f32::NEG_INFINITY, 0.0], 0);
        assert!((stats.entropy - 2f32.ln()).abs() < 1e-6);
    }
}
