//! Units of a rollout: the replies to one prompt that are read together, so that the prompt is read once.

use crate::tokenizer::TokenId;
use crate::train::{Reading, Sequence};

/// Divides the replies `members` into units of at most `most`. `members` are indices in a rollout with `replies` replies
/// to each prompt. A unit holds replies to one prompt, and comes where the first of them is in `members`.
pub(super) fn divide(members: &[usize], replies: usize, most: usize) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::new();
    for &member in members {
        let same = |unit: &&mut Vec<usize>| unit[0] / replies == member / replies && unit.len() < most;
        match units.iter_mut().find(same) {
            Some(unit) => unit.push(member),
            None => units.push(vec![member]),
        }
    }
    units
}

/// Number of tokens of a unit: one sequence over a prompt and `n` replies of `reply` tokens each.
pub(super) fn tokens(prompt: usize, reply: usize, n: usize) -> usize {
    prompt - 1 + n * reply
}

/// A sequence that reads each token of `replies`, in order, at the token before it: its log-probability if `target`, the
/// head if `head`. The last token of a reply is left out, because no token follows it.
///
/// If `branched`, each reply is a branch behind the prompt. It begins with the prompt's last token, at which its first
/// token is read, because a position has only one reading. So the prompt has at least two tokens then.
pub(super) fn reader(
    prompt: &[TokenId],
    replies: &[&[TokenId]],
    branched: bool,
    target: bool,
    head: bool,
) -> Sequence {
    debug_assert!(branched || replies.len() == 1);
    let read = |reply: &&[TokenId]| {
        let reading = |(nth, &token): (usize, &TokenId)| Reading {
            position: prompt.len() - 1 + nth,
            target: target.then_some(token),
            head,
        };
        Sequence {
            ids: [prompt, &reply[..reply.len() - 1]].concat(),
            readings: reply.iter().enumerate().map(reading).collect(),
            ..Sequence::default()
        }
    };
    let mut alone = replies.iter().map(read);
    if branched {
        return Sequence::joined(prompt.len() - 1, alone);
    }
    alone.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_holds_replies_to_one_prompt() {
        let members: Vec<usize> = (0..6).collect();
        assert_eq!(divide(&members, 3, 3), [[0, 1, 2], [3, 4, 5]]);
        assert_eq!(divide(&members, 3, 2), [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
        assert_eq!(divide(&members, 3, 1).len(), 6);
        assert_eq!(divide(&[5, 0, 4, 1], 3, 8), [[5, 4], [0, 1]]);
    }

    #[test]
    fn each_token_is_read_at_the_one_before() {
        let (prompt, replies): (&[TokenId], [&[TokenId]; 2]) = (&[1, 2, 3], [&[4, 5], &[6, 7, 8]]);
        let alone = reader(prompt, &replies[..1], false, true, false);
        assert_eq!((alone.ids, alone.branches), (vec![1, 2, 3, 4], vec![]));
        let together = reader(prompt, &replies, true, true, true);
        assert_eq!(together.ids, [1, 2, 3, 4, 3, 6, 7]);
        assert_eq!(together.ids.len(), 2 + 2 + 3);
        assert_eq!(together.branches, [2, 4]);
        let read: Vec<(usize, TokenId)> =
            together.readings.iter().map(|one| (one.position, one.target.unwrap())).collect();
        assert_eq!(read, [(2, 4), (3, 5), (4, 6), (5, 7), (6, 8)]);
        for (position, token) in [(2, 4), (4, 6)] {
            assert_eq!(together.ids[position], 3, "{token} follows the prompt");
        }
        assert_eq!(tokens(3, 3, 1), reader(prompt, &replies[1..], false, true, false).ids.len());
        assert_eq!(tokens(3, 2, 2), reader(prompt, &[&[4, 5], &[6, 7]], true, true, false).ids.len());
    }
}
