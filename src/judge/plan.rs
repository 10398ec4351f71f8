//! Plans the replies to a prompt, the principles that they are written under, and the pairs to compare.

use super::{JudgeError, PreferenceConfig, ReplyPlan};
use crate::preferences::{Prompt, Under, name_words};
use crate::principles::{Principle, PrincipleSet, Use};
use crate::random::{Philox, Purpose, uniform01};

/// A reply to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedReply {
    pub under: Option<Under>,
    pub seed: u64,
}

/// Two replies to compare, by their index among the replies to the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedPair {
    /// The id of the record: the prompt's id, the pair's number, and the principle that it is written under.
    pub id: String,
    pub replies: [usize; 2],
    /// How a program makes two versions of the reply. Then `replies` names the same reply twice.
    pub edit: Option<PlannedEdit>,
}

/// An edit of a reply into two versions, of which one follows a principle better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedEdit {
    pub principle: String,
    pub pick: u32,
    /// Index of the principle at which the search for a decoy begins, if the pair gets a decoy.
    pub decoy: Option<u32>,
    /// Whether the better version is the second.
    pub swapped: bool,
}

/// The replies and pairs of one prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PromptPlan {
    pub replies: Vec<PlannedReply>,
    pub pairs: Vec<PlannedPair>,
}

/// Plans prompts one by one. The plan of a prompt depends only on its id and type, the principles and the
/// settings.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    config: &'a PreferenceConfig,
    /// The principles, with one draw per pair.
    set: PrincipleSet,
}

impl<'a> Planner<'a> {
    pub fn new(config: &'a PreferenceConfig, set: &PrincipleSet) -> Result<Planner<'a>, JudgeError> {
        let mut set = set.clone();
        if config.replies.plan == ReplyPlan::Edit {
            // Without a check, no program can edit a reply for a principle.
            set.principles.retain(|one| one.check.is_some());
        }
        if config.replies.plan != ReplyPlan::Sample {
            let (pairs, known) = (config.replies.pairs, set.principles.len());
            if pairs > known {
                let which =
                    if config.replies.plan == ReplyPlan::Edit { " that a program checks" } else { "" };
                let reason = format!(
                    "each of {pairs} pairs per prompt needs its own principle, but there are {known} \
                     principles{which}"
                );
                return Err(JudgeError::Nothing { reason });
            }
            if let Some(one) = set.principles.iter().find(|one| one.negative.is_none()) {
                let reason = "has no negative to write replies under".to_owned();
                return Err(JudgeError::Principle { principle: one.id.clone(), reason });
            }
            set.uses = Use::Sample { draws: pairs };
        }
        Ok(Planner { config, set })
    }

    /// Number of replies to each prompt.
    pub fn replies_per_prompt(&self) -> usize {
        match self.config.replies.plan {
            ReplyPlan::Sample => self.config.replies.count,
            ReplyPlan::Contrast | ReplyPlan::Mix => 2 * self.config.replies.pairs,
            ReplyPlan::Edit => 1,
        }
    }

    pub fn plan(&self, prompt: &Prompt) -> PromptPlan {
        // Two prompts that share these 64 bits also share their draws, which does no harm.
        let [index, step, ..] = name_words(&prompt.id);
        let random = Philox::new(self.config.seed);
        let block = |draw: usize| random.block(Purpose::Preferences, step, index, draw as u32);
        let planned = |number: usize, under| PlannedReply { under, seed: block(2 * number)[0].into() };
        if self.config.replies.plan == ReplyPlan::Sample {
            let count = self.config.replies.count;
            let pairs = (0..count).flat_map(|first| (first + 1..count).map(move |second| [first, second]));
            let pair = |[first, second]: [usize; 2]| PlannedPair {
                id: format!("{}/{first}-{second}", prompt.id),
                replies: [first, second],
                edit: None,
            };
            let replies = (0..count).map(|number| planned(number, None)).collect();
            return PromptPlan { replies, pairs: pairs.map(pair).collect() };
        }
        let mut plan = PromptPlan { replies: Vec::new(), pairs: Vec::new() };
        if self.config.replies.plan == ReplyPlan::Edit {
            plan.replies.push(planned(0, None));
        }
        for (number, place) in self.set.draw(prompt.kind, random, step, index).into_iter().enumerate() {
            let Principle { id, .. } = &self.set.principles[place];
            let bits = block(2 * number + 1);
            let [order, negated, ..] = bits.map(|bits| bits >> 31 == 1);
            if self.config.replies.plan == ReplyPlan::Edit {
                let decoy = f64::from(uniform01(bits[3])) < self.config.replies.decoys;
                // The top bit decides for another plan; the bits below it are free.
                let decoy = decoy.then_some(bits[1] & (u32::MAX >> 1));
                plan.pairs.push(PlannedPair {
                    id: format!("{}/{number}/{id}", prompt.id),
                    replies: [0, 0],
                    edit: Some(PlannedEdit { principle: id.clone(), pick: bits[2], decoy, swapped: order }),
                });
                continue;
            }
            let under = |negated| Some(Under { principle: id.clone(), negated });
            let (first, second, mark) = match self.config.replies.plan {
                ReplyPlan::Mix => (under(negated), None, if negated { "!" } else { "" }),
                _ => (under(false), under(true), ""),
            };
            let (one, other) = (2 * number, 2 * number + 1);
            plan.replies.extend([planned(one, first), planned(other, second)]);
            plan.pairs.push(PlannedPair {
                id: format!("{}/{number}/{mark}{id}", prompt.id),
                // Otherwise the better reply would always be the first.
                replies: if order { [one, other] } else { [other, one] },
                edit: None,
            });
        }
        plan
    }
}
