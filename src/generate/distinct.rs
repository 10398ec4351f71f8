//! Repetition in replies.

use std::collections::HashSet;

use crate::tokenizer::TokenId;

/// Number of tokens of each reply that are checked for repetition. With more, longer replies repeat more. 64
/// is Parr's own choice.
pub const DISTINCT_WINDOW: usize = 64;

/// Distinct-n (arXiv 1510.03055): the share of distinct runs among all runs of `n` tokens in the replies. It
/// is near 0 if one phrase repeats over and over, and 1 if none does. Only the first `window` tokens of each
/// reply count. 1 if there is no such run.
///
/// ```
/// use parr::generate::distinct;
///
/// assert_eq!(distinct([&[1, 2, 1, 2, 1][..]], 2, 64), 0.5);
/// ```
///
/// # Panics
///
/// If `n` is 0.
pub fn distinct<'a>(replies: impl IntoIterator<Item = &'a [TokenId]>, n: usize, window: usize) -> f64 {
    let (mut seen, mut total) = (HashSet::new(), 0);
    for reply in replies {
        for run in reply[..reply.len().min(window)].windows(n) {
            seen.insert(run);
            total += 1;
        }
    }
    if total == 0 { 1.0 } else { seen.len() as f64 / f64::from(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_shows_within_a_reply_and_between_replies() {
        let (varied, same) = ([1, 2, 3, 4, 5], [7, 7, 7, 7, 7]);
        assert_eq!(distinct([&varied[..]], 2, 64), 1.0);
        assert_eq!(distinct([&same[..]], 2, 64), 0.25);
        assert_eq!(distinct([&varied[..], &varied[..]], 2, 64), 0.5, "one reply to everything");
        assert_eq!(distinct([&[1][..], &[]], 2, 64), 1.0, "nothing repeats");
    }

    #[test]
    fn a_longer_reply_is_not_taken_for_repetition() {
        let short: Vec<TokenId> = (0..16).collect();
        let long: Vec<TokenId> = (0..16).chain((0..200).map(|at| at % 7)).collect();
        assert_eq!(distinct([&short[..]], 2, 16), distinct([&long[..]], 2, 16));
    }
}
