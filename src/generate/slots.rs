//! The tokens in each slot of the cache, and their reuse for new prompts.

use crate::model::lora::AdapterId;
use crate::tokenizer::TokenId;

/// The tokens whose keys and values are in a slot, and whether a sequence uses the slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub tokens: Vec<TokenId>,
    /// The adapter that computed them; no other adapter can use its keys and values.
    pub adapter: Option<AdapterId>,
    pub busy: bool,
}

/// A copy saves prefill but costs a pass over memory; shorter prefixes are computed again.
const LEAST_COPY: usize = 8;

/// Length of the longest common prefix.
pub(super) fn shared(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl Slot {
    /// Number of tokens of `prompt` whose keys and values the slot holds. The last token of a prompt is always
    /// computed again, because its logits are needed.
    fn known(&self, prompt: &[TokenId], adapter: Option<AdapterId>) -> usize {
        if self.adapter == adapter { shared(&self.tokens, prompt).min(prompt.len() - 1) } else { 0 }
    }

    /// Gives the slot to a sequence. It keeps the part of its tokens that stays valid.
    pub fn admit(&mut self, prompt: &[TokenId], adapter: Option<AdapterId>) {
        self.tokens.truncate(self.known(prompt, adapter));
        self.adapter = adapter;
        self.busy = true;
    }
}

/// The free slot with the longest prefix of `prompt` under `adapter`. `None` if no slot is free.
pub(super) fn choose(slots: &[Slot], prompt: &[TokenId], adapter: Option<AdapterId>) -> Option<usize> {
    let free = (0..slots.len()).filter(|&slot| !slots[slot].busy);
    // Among slots with equally long prefixes, the emptiest: the others may serve another prompt.
    free.max_by_key(|&slot| (slots[slot].known(prompt, adapter), std::cmp::Reverse(slots[slot].tokens.len())))
}

/// How many tokens of `prompt` the sequence in `own` can reuse, and the other slot that it copies them from. `None`
/// for its own.
pub(super) fn donor(
    slots: &[Slot],
    own: usize,
    prompt: &[TokenId],
    adapter: Option<AdapterId>,
) -> (usize, Option<usize>) {
    let mut choice = (slots[own].known(prompt, adapter), None);
    for (other, slot) in slots.iter().enumerate() {
        let known = slot.known(prompt, adapter);
        if other != own && known >= choice.0 + LEAST_COPY {
            choice = (known, Some(other));
        }
    }
    choice
}

/// Whether a prompt of `computing` gives more of `prompt` than the `reused` tokens that are there: enough to wait for
/// it.
pub(super) fn ahead<'a>(
    mut computing: impl Iterator<Item = &'a [TokenId]>,
    prompt: &[TokenId],
    reused: usize,
) -> bool {
    computing.any(|other| shared(other, prompt).min(prompt.len() - 1) >= reused + LEAST_COPY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(tokens: &[&[TokenId]]) -> Vec<Slot> {
        tokens.iter().map(|tokens| Slot { tokens: tokens.to_vec(), ..Slot::default() }).collect()
    }

    #[test]
    fn takes_the_slot_that_knows_most() {
        let long: Vec<TokenId> = (0..20).collect();
        let state = slots(&[&[], &long[..12], &long[..5]]);
        assert_eq!(choose(&state, &long, None), Some(1));
        assert_eq!(donor(&state, 1, &long, None), (12, None));
        assert_eq!(choose(&state, &[50, 51], None), Some(0), "the emptiest, if none knows it");
    }

    #[test]
    fn computes_the_last_token_of_a_known_prompt_again() {
        let mut state = slots(&[&[1, 2, 3]]);
        state[0].admit(&[1, 2, 3], None);
        assert_eq!(state[0].tokens, [1, 2]);
        assert_eq!(donor(&state, 0, &[1, 2, 3], None), (2, None));
    }

    #[test]
    fn copies_from_other_slots_if_they_know_more() {
        let a: Vec<TokenId> = (0..20).chain([100]).collect();
        let b: Vec<TokenId> = (0..20).chain([200]).collect();
        let mut state = slots(&[&a, &b[..5]]);
        state[0].busy = true;
        assert_eq!(choose(&state, &b, None), Some(1));
        assert_eq!(donor(&state, 1, &b, None), (20, Some(0)), "also from a slot in use");
        state[1] = slots(&[&b[..15]]).remove(0);
        assert_eq!(donor(&state, 1, &b, None), (15, None), "five more are not worth a copy");
    }

    #[test]
    fn other_adapters_know_nothing() {
        let long: Vec<TokenId> = (0..20).collect();
        let mut state = slots(&[&long]);
        let other = Some(AdapterId::first());
        assert_eq!(donor(&state, 0, &long, other), (0, None));
        state[0].admit(&long, other);
        assert!(state[0].tokens.is_empty());
    }

    #[test]
    fn waits_for_a_prompt_that_computes_more_of_its_beginning() {
        let a: Vec<TokenId> = (0..20).collect();
        let b: Vec<TokenId> = (0..15).chain([9; 20]).collect();
        assert!(ahead([&a[..]].into_iter(), &b, 0));
        assert!(ahead([&[7][..], &a[..]].into_iter(), &b, 7));
        assert!(!ahead([&a[..]].into_iter(), &b, 8));
    }

    #[test]
    fn without_a_free_slot_there_is_no_choice() {
        let mut state = slots(&[&[]]);
        state[0].busy = true;
        assert_eq!(choose(&state, &[1], None), None);
    }
}
