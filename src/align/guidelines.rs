//! The principles that replies are judged by.

use sha2::{Digest, Sha256};

use crate::file::hex;
use crate::principles::{Principle, PrincipleSet, PromptType, Use};
use crate::random::Philox;

/// Sets of principles. Sets that are in every scoring prompt come first.
///
/// A set with `use = "always"` is an intervention. It is for a habit of the policy that the reward model
/// scores high but people do not want. A sentence against the habit goes before all drawn principles. The
/// reward model is not retrained (SALMON, section 3.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guidelines {
    sets: Vec<PrincipleSet>,
}

impl Guidelines {
    /// Guidelines of these sets. Without sets, replies are judged on general quality.
    pub fn new(mut sets: Vec<PrincipleSet>) -> Guidelines {
        sets.sort_by_key(|set| set.uses != Use::Always);
        Guidelines { sets }
    }

    /// Principles for prompt number `index` of a step: every principle of the sets with `use = "always"`, and
    /// from each set with `use = "sample"` a draw for a prompt of this type.
    ///
    /// All replies to the prompt are judged by the same list. Otherwise a reply could score higher only
    /// because its list is easier.
    pub fn draw(&self, kind: PromptType, random: Philox, step: u32, index: u32) -> Vec<&Principle> {
        let n_sets = self.sets.len() as u32;
        let of_set = |(number, set): (usize, &'_ PrincipleSet)| -> Vec<usize> {
            // Each set gets its own index. Otherwise two sets would draw the same places.
            set.draw(kind, random, step, index * n_sets + number as u32)
        };
        let drawn = self.sets.iter().enumerate().map(|(number, set)| (set, of_set((number, set))));
        drawn.flat_map(|(set, places)| places.into_iter().map(|place| &set.principles[place])).collect()
    }

    /// The definitions of all principles, in their order.
    pub fn definitions(&self) -> Vec<&str> {
        let all = self.sets.iter().flat_map(|set| &set.principles);
        all.map(|principle| principle.definition.as_str()).collect()
    }

    /// Ids of the sets.
    pub fn ids(&self) -> Vec<&str> {
        self.sets.iter().map(|set| set.id.as_str()).collect()
    }

    /// SHA-256 of the files of all sets, in hexadecimal.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.sets.iter().for_each(|set| hash.update(set.sha256.as_bytes()));
        hex(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interventions_stand_before_what_is_drawn() {
        let open = |name| PrincipleSet::open(name).expect("it comes with parr");
        let guidelines = Guidelines::new(vec![open("policy"), open("interventions")]);
        assert_eq!(guidelines.ids(), ["interventions", "policy"]);
        let (fixed, random) = (open("interventions").principles, Philox::new(3));
        let mut lists = Vec::new();
        for index in 0..20 {
            let drawn = guidelines.draw(PromptType::General, random, 0, index);
            assert_eq!(drawn.len(), fixed.len() + 3);
            assert!(drawn.iter().zip(&fixed).all(|(drawn, fixed)| *drawn == fixed));
            lists.push(drawn[fixed.len()..].iter().map(|one| one.id.clone()).collect::<Vec<_>>());
        }
        lists.sort();
        lists.dedup();
        assert!(lists.len() > 15, "every prompt has its own draw: {lists:?}");
    }

    #[test]
    fn two_sets_do_not_draw_the_same_places() {
        let policy = PrincipleSet::open("policy").expect("it comes with parr");
        let guidelines = Guidelines::new(vec![policy.clone(), policy]);
        let same = (0..20).filter(|&index| {
            let drawn = guidelines.draw(PromptType::Reasoning, Philox::new(1), 4, index);
            drawn[..3].iter().zip(&drawn[3..]).all(|(first, second)| first.id == second.id)
        });
        assert!(same.count() < 5);
    }
}
