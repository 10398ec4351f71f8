//! The next token of a sequence, drawn from a row of logits: the exact algorithm.
//!
//! For a row of logits `l`, a list of recent tokens and a [`SampleRow`]:
//!
//! 1. *Clean*: NaN counts as minus infinity, minus zero as zero. A row with a NaN or infinite logit still
//!    has a token, but both its log-probabilities are NaN, so that the caller sees the fault.
//! 2. *Repetition penalty* `r` (Keskar et al. 2019, in the sign-aware form of Hugging Face):
//!    once for each distinct recent token `i`, `z_i = l_i / r` if `l_i > 0`, else `l_i * r`;
//!    `z_i = l_i` for all others.
//! 3. *Greedy*: if the temperature `T` is below [`GREEDY_BELOW`], the token is the lowest id
//!    among those with the largest `z`, and no filter applies.
//! 4. *Temperature*: `s_i = (z_i - max z) / T`; at most 0.
//! 5. *Top-k*, off if 0: token `i` stays if fewer than `k` tokens have a larger `z`. Tokens tied
//!    with the k-th largest all stay.
//! 6. *Top-p*, off if 1 or more: under the softmax of `s` over the remaining tokens, token `i` stays
//!    if the tokens with larger `z` sum to less than `p`. Tied tokens are kept or removed together,
//!    and the largest always stays (its sum is 0, and `p` is above 0).
//! 7. *Min-p*, off if 0: token `i` stays if `s_i >= ln(min_p)`, that is, if it is at least
//!    `min_p` times as probable as the largest.
//! 8. *Draw* by the Gumbel-max trick: the token with the largest `s_i + g_i` among those left,
//!    the lowest id if equal, where `g_i` depends only on (seed, position, `i`)
//!    ([`token_gumbel`]). Nothing else in a batch can change the draw.
//!
//! Each filter is a lower bound on `z`, so the remaining tokens are `{i : z_i >= threshold}` for one
//! threshold; the kernel finds it by bisection on the bits. The order of filters is Hugging Face's.

use super::random::token_gumbel;

/// Temperatures below this draw greedily: dividing by them would overflow f32.
pub const GREEDY_BELOW: f32 = 1e-5;

/// How to draw one row.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct SampleRow {
    /// Divides the logits; below [`GREEDY_BELOW`] the draw is greedy.
    pub temperature: f32,
    /// Number of tokens to keep; 0 keeps all.
    pub top_k: u32,
    /// Keep the most probable tokens up to this mass, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this many times as probable as the first, in `[0, 1]`; 0 keeps all.
    pub min_p: f32,
    /// Penalty on recent tokens, above 0; 1 is none.
    pub repetition_penalty: f32,
    /// Seed of the sequence.
    pub seed: u64,
    /// Position of the token being drawn: one more than the position of these logits.
    pub position: u32,
}

impl Default for SampleRow {
    /// The plain softmax: temperature 1, no filter, no penalty, seed 0, position 0.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            position: 0,
        }
    }
}

/// A drawn token.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The token's id.
    pub token: u32,
    /// Its log-probability under the softmax of the unmodified logits: no penalty, no temperature, no
    /// filter. PPO uses this value as the policy's log-probability.
    pub logprob: f32,
    /// Its log-probability under the distribution it was drawn from; 0 if greedy.
    pub sampling_logprob: f32,
}

/// The candidates after steps 1 to 7.
#[derive(Clone, Debug)]
pub struct Choices {
    /// `s`, minus infinity for tokens that were filtered out, `(vocab)`.
    pub scores: Vec<f64>,
    /// Log of the sum of the exponentials of `scores`.
    pub log_sum_exp: f64,
    /// Smallest `z` that stayed.
    pub threshold: f32,
}

/// Step 1: NaN to minus infinity, minus zero to zero.
fn clean(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit + 0.0 }
}

/// Steps 1 and 2: the penalised logits, `(vocab)`.
pub fn penalised(logits: &[f32], recent: &[u32], penalty: f32) -> Vec<f32> {
    let mut z: Vec<f32> = logits.iter().map(|&l| clean(l)).collect();
    let mut distinct = recent.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    for token in distinct {
        let z = &mut z[token as usize];
        *z = if *z > 0.0 { *z / penalty } else { *z * penalty };
    }
    z
}

/// Steps 4 to 7: scores of the tokens that stay.
pub fn choices(z: &[f32], row: &SampleRow) -> Choices {
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|&a, &b| z[b].total_cmp(&z[a]));
    let score = |i: usize| (f64::from(z[i]) - f64::from(top)) / f64::from(row.temperature);

    let mut left = order.len();
    if row.top_k > 0 && (row.top_k as usize) < left {
        let kth = z[order[row.top_k as usize - 1]];
        left = order.iter().take_while(|&&i| z[i] >= kth).count();
    }
    if row.top_p < 1.0 {
        let total: f64 = order[..left].iter().map(|&i| score(i).exp()).sum();
        let (mut above, mut end) = (0.0, 0);
        while end < left && above < f64::from(row.top_p) * total {
            // One group of equal logits at a time.
            let group = order[end..left].iter().take_while(|&&i| z[i] == z[order[end]]).count();
            above += score(order[end]).exp() * group as f64;
            end += group;
        }
        left = end;
    }
    if row.min_p > 0.0 {
        let least = f64::from(row.min_p).ln();
        left = order[..left].iter().take_while(|&&i| score(i) >= least).count();
    }

    let mut scores = vec![f64::NEG_INFINITY; z.len()];
    for &i in &order[..left] {
        scores[i] = score(i);
    }
    let log_sum_exp = scores.iter().map(|s| s.exp()).sum::<f64>().ln();
    let threshold = order[..left].last().map_or(f32::NEG_INFINITY, |&i| z[i]);
    Choices { scores, log_sum_exp, threshold }
}

/// Draws a token from one row of logits: steps 1 to 8.
///
/// If a logit is NaN or infinite, the log-probabilities are NaN; a row without a single logit above minus
/// infinity gives token 0.
///
/// # Shapes
///
/// `logits` `(vocab)`; `recent` any length, repetitions allowed.
pub fn sample(logits: &[f32], recent: &[u32], row: &SampleRow) -> Sampled {
    let z = penalised(logits, recent, row.repetition_penalty);
    let (token, sampling_logprob) = if row.temperature < GREEDY_BELOW {
        (first_largest(z.iter().map(|&z| f64::from(z))), 0.0)
    } else {
        let choices = choices(&z, row);
        let noisy = choices.scores.iter().enumerate().map(|(i, &s)| {
            let kept = s > f64::NEG_INFINITY;
            if kept { s + f64::from(token_gumbel(row.seed, row.position, i as u32)) } else { s }
        });
        let token = first_largest(noisy);
        (token, choices.scores[token] - choices.log_sum_exp)
    };
    let sound = logits.iter().all(|logit| logit.is_finite());
    let raw: Vec<f64> = logits.iter().map(|&l| f64::from(clean(l))).collect();
    let top = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = raw.iter().map(|l| (l - top).exp()).sum();
    let of_row = |logprob: f64| if sound { logprob as f32 } else { f32::NAN };
    Sampled {
        token: token as u32,
        logprob: of_row(raw[token] - top - sum.ln()),
        sampling_logprob: of_row(sampling_logprob),
    }
}

fn first_largest(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: SampleRow = SampleRow {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: 9,
        position: 0,
    };

    fn stay(z: &[f32], row: &SampleRow) -> Vec<usize> {
        let choices = choices(z, row);
        (0..z.len()).filter(|&i| choices.scores[i] > f64::NEG_INFINITY).collect()
    }

    #[test]
    fn greedy_takes_the_lowest_of_equal_ids() {
        let row = SampleRow { temperature: 0.0, ..ROW };
        let drawn = sample(&[1.0, -2.0, 3.0, 3.0], &[], &row);
        assert_eq!((drawn.token, drawn.sampling_logprob), (2, 0.0));
        let mass = 2.0 + (-2f32).exp() + (-5f32).exp();
        assert!((drawn.logprob + mass.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_row_with_a_logit_that_is_not_finite_has_no_log_probability() {
        for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, 1.0] {
                let drawn = sample(&[1.0, fault, 3.0], &[], &SampleRow { temperature, ..ROW });
                assert!(drawn.token < 3 && drawn.logprob.is_nan() && drawn.sampling_logprob.is_nan());
            }
        }
    }

    #[test]
    fn the_penalty_counts_a_token_once_and_knows_the_sign() {
        assert_eq!(penalised(&[2.0, -2.0, 2.0], &[0, 1, 0, 1, 0], 2.0), [1.0, -4.0, 2.0]);
    }

    #[test]
    fn top_k_keeps_every_tie_of_the_last_place() {
        let row = SampleRow { top_k: 2, ..ROW };
        assert_eq!(stay(&[0.0, 3.0, 1.0, 1.0, -1.0], &row), [1, 2, 3]);
    }

    #[test]
    fn top_p_keeps_the_token_that_crosses_the_mass() {
        let z: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        assert_eq!(stay(&z, &SampleRow { top_p: 0.6, ..ROW }), [0, 1]);
        assert_eq!(stay(&z, &SampleRow { top_p: 0.81, ..ROW }), [0, 1, 2]);
        assert_eq!(stay(&z, &SampleRow { top_p: 0.01, ..ROW }), [0]);
        // After top-k = 2 the two are renormalised: 0.5 / 0.8 alone exceeds 0.6.
        assert_eq!(stay(&z, &SampleRow { top_p: 0.6, top_k: 2, ..ROW }), [0]);
    }

    #[test]
    fn min_p_compares_with_the_most_probable() {
        let z: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        assert_eq!(stay(&z, &SampleRow { min_p: 0.25, ..ROW }), [0, 1, 2]);
        assert_eq!(stay(&z, &SampleRow { min_p: 1.0, ..ROW }), [0]);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let p = [0.1f32, 0.6, 0.3];
        let z: Vec<f32> = p.iter().map(|p| p.ln()).collect();
        let mut counts = [0; 3];
        for position in 0..6000 {
            let drawn = sample(&z, &[], &SampleRow { position, ..ROW });
            counts[drawn.token as usize] += 1;
            assert!((drawn.sampling_logprob - z[drawn.token as usize]).abs() < 1e-5);
        }
        for (count, p) in counts.iter().zip(p) {
            // Four standard deviations of a binomial count.
            let sigma = (6000.0 * p * (1.0 - p)).sqrt();
            assert!((*count as f32 - 6000.0 * p).abs() < 4.0 * sigma, "{counts:?}");
        }
    }
}
