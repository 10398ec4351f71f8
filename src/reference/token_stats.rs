//! What a row of logits says about one token: its log-probability, and the row's entropy.

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

/// Statistics of `token` under `softmax(logits)`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
