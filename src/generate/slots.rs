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

/// The source of a prompt's cached prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The slot itself.
    Own,
    /// Another slot; the prefix is copied before prefill.
    Slot(usize),
    /// The slot of an earlier admission of this round; the prefix is copied once it is prefilled.
    Admitted(usize),
}

/// A request with its slot.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub request: usize,
    pub slot: usize,
    pub origin: Origin,
    /// Positions that need no prefill.
    pub reused: usize,
}

/// A copy saves prefill but costs a pass over memory; shorter prefixes are computed again.
const LEAST_COPY: usize = 8;

/// Length of the longest common prefix.
pub(super) fn shared(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Assigns free slots to the requests in `waiting`, in order. Each gets the slot with the longest prefix of
/// its prompt under the request's adapter; `prompts` and `adapters` are by request. The tokens of slots are
/// cut to the part that stays valid.
///
/// The last token of a prompt is always computed again, because its logits are needed.
pub(super) fn admit(
    slots: &mut [Slot],
    waiting: &[usize],
    prompts: &[&[TokenId]],
    adapters: &[Option<AdapterId>],
) -> Vec<Admission> {
    let mut admissions: Vec<Admission> = Vec::new();
    for &request in waiting {
        let prompt = prompts[request];
        let most = prompt.len() - 1;
        let adapter = adapters[request];
        let known =
            |slot: &Slot| if slot.adapter == adapter { shared(&slot.tokens, prompt).min(most) } else { 0 };
        // Among slots with equally long prefixes, the emptiest: the others may serve another prompt.
        let free = (0..slots.len()).filter(|&slot| !slots[slot].busy);
        let best =
            free.max_by_key(|&slot| (known(&slots[slot]), std::cmp::Reverse(slots[slot].tokens.len())));
        let Some(slot) = best else { break };
        let own = known(&slots[slot]);
        let mut choice = (own, Origin::Own);
        for (other, donor) in slots.iter().enumerate() {
            let reach = known(donor);
            if other != slot && reach >= choice.0 + LEAST_COPY {
                choice = (reach, Origin::Slot(other));
            }
        }
        for (index, earlier) in admissions.iter().enumerate() {
            // Only tokens that are prefilled in the first wave can be copied for the second.
            let first_wave = !matches!(earlier.origin, Origin::Admitted(_));
            let reach = shared(prompts[earlier.request], prompt).min(most);
            let same = adapters[earlier.request] == adapter;
            if first_wave && same && reach >= choice.0 + LEAST_COPY {
                choice = (reach, Origin::Admitted(index));
            }
        }
        let (reused, origin) = choice;
        slots[slot].busy = true;
        slots[slot].tokens.truncate(own);
        slots[slot].adapter = adapter;
        // A slot records the tokens that it will hold before a later admission is copied. A prefix of
        // the second wave is not there yet.
        if let Origin::Slot(_) = origin {
            slots[slot].tokens = prompt[..reused].to_vec();
        }
        admissions.push(Admission { request, slot, origin, reused });
    }
    admissions
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
        let mut state = slots(&[&[], &long[..12], &long[..5]]);
        let admitted = admit(&mut state, &[0], &[&long], &[None]);
        assert_eq!((admitted[0].slot, admitted[0].reused, admitted[0].origin), (1, 12, Origin::Own));
    }

    #[test]
    fn computes_the_last_token_of_a_known_prompt_again() {
        let mut state = slots(&[&[1, 2, 3]]);
        assert_eq!(admit(&mut state, &[0], &[&[1, 2, 3]], &[None])[0].reused, 2);
        assert_eq!(state[0].tokens, [1, 2]);
    }

    #[test]
    fn shares_a_prefix_within_a_round_and_across_busy_slots() {
        let a: Vec<TokenId> = (0..20).chain([100]).collect();
        let b: Vec<TokenId> = (0..20).chain([200]).collect();
        let mut state = slots(&[&[], &[], &[]]);
        let admitted = admit(&mut state, &[0, 1], &[&a, &b, &b], &[None; 3]);
        assert_eq!((admitted[1].origin, admitted[1].reused), (Origin::Admitted(0), 20));
        state[admitted[0].slot].tokens = a.clone();
        let later = admit(&mut state, &[2], &[&a, &b, &b], &[None; 3]);
        assert_eq!((later[0].origin, later[0].reused), (Origin::Slot(admitted[0].slot), 20));
    }

    #[test]
    fn copies_nothing_that_is_not_there_yet() {
        let prompts: Vec<Vec<TokenId>> = (0..3).map(|last| (0..20).chain([100 + last]).collect()).collect();
        let prompts: Vec<&[TokenId]> = prompts.iter().map(|prompt| &prompt[..]).collect();
        let admitted = admit(&mut slots(&[&[], &[], &[]]), &[0, 1, 2], &prompts, &[None; 3]);
        assert_eq!(admitted[2].origin, Origin::Admitted(0));
    }

    #[test]
    fn leaves_requests_without_a_free_slot_waiting() {
        let mut state = slots(&[&[]]);
        assert_eq!(admit(&mut state, &[0, 1], &[&[1], &[2]], &[None; 2]).len(), 1);
    }
}
