//! Options of steering: the principles, where the prompt holds them, and the search.

use serde::{Deserialize, Serialize};

use super::SteerError;
use crate::principles::{Principle, PrincipleSet};
use crate::tokenizer::Message;

/// Text before the principles if there is no system message.
const ASSISTANT: &str = "You are a helpful assistant.";
/// Text between the system message and the principles.
const LEAD: &str = "Whatever you are asked, your reply keeps to these principles. The first matter most:";

/// Text before the principles in a message of the user.
const REQUEST: &str = "Keep to these principles in your reply. The first matter most:";

/// Where the prompt of the model that answers holds the principles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// Nowhere.
    #[default]
    Nobody,
    /// At the end of the system message, which is computed once for a whole conversation.
    System,
    /// In front of the last message of the user only. Small models tend to follow this better.
    Question,
}

impl Tell {
    /// All variants.
    pub const ALL: [Tell; 3] = [Tell::System, Tell::Question, Tell::Nobody];

    /// `system`, `question` or `nobody`.
    pub fn name(self) -> &'static str {
        match self {
            Tell::Nobody => "nobody",
            Tell::System => "system",
            Tell::Question => "question",
        }
    }

    /// Returns the variant with this name.
    pub fn from_name(name: &str) -> Option<Tell> {
        Tell::ALL.into_iter().find(|tell| tell.name() == name)
    }
}

/// How a reply is searched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// One reply is sampled.
    #[default]
    Sample,
    /// The reward model chooses one of `n` whole replies.
    BestOf {
        /// Number of replies, at least 1.
        n: usize,
    },
    /// The reward model chooses one of `n` continuations of `block` tokens, until the reply ends. This is
    /// reward-guided decoding (ARGS, arXiv 2402.01694), in the blockwise best-of-n form of controlled
    /// decoding (arXiv 2310.17022). The reward model was trained on whole replies, but here it also scores
    /// beginnings.
    Guided {
        /// Number of continuations at each step, at least 1.
        n: usize,
        /// Number of tokens of a step, at least 1.
        block: usize,
    },
}

impl Search {
    /// Number of candidates of a choice.
    pub fn n(self) -> usize {
        match self {
            Search::Sample => 1,
            Search::BestOf { n } | Search::Guided { n, .. } => n,
        }
    }

    /// Upper bound of the KL divergence, in nats, between the distribution of chosen replies and the one that
    /// candidates are sampled from. It is `log n - (n - 1) / n` for each choice (arXiv 2401.01879). Guided
    /// decoding makes `choices` choices (arXiv 2310.17022). 0 for one sample.
    ///
    /// ```
    /// use parr::steer::Search;
    ///
    /// assert_eq!(Search::Sample.kl_bound(1.0), 0.0);
    /// assert!((Search::BestOf { n: 4 }.kl_bound(1.0) - 0.636).abs() < 1e-3);
    /// ```
    pub fn kl_bound(self, choices: f64) -> f64 {
        let n = self.n().max(1) as f64;
        let choice = n.ln() - (n - 1.0) / n;
        match self {
            Search::Sample => 0.0,
            Search::BestOf { .. } => choice,
            Search::Guided { .. } => choices * choice,
        }
    }
}

/// How replies are steered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steering {
    /// The principles that replies should follow. Without any, the prompt is not changed, and the reward
    /// model scores how good a reply is in general.
    pub principles: PrincipleSet,
    /// Fixed principles against habits that raise the score but do not help the user. The reward model reads
    /// them first. They are not in the prompt of the model that answers, because they describe habits that it
    /// may not have.
    pub interventions: Option<PrincipleSet>,
    /// Maximum number of `principles` to use. 0 for all. Reward models are trained on lists of up to eight.
    pub most: usize,
    /// Where the prompt of the model that answers holds the principles.
    pub tell: Tell,
    /// How a reply is searched for.
    pub search: Search,
    /// Whether to score more than the search needs: a single sample, and every candidate of the last choice
    /// under each principle alone.
    pub scores: bool,
}

impl Steering {
    /// Maximum number of principles in a list that a reward model is trained on (SALMON, arXiv 2310.05910).
    pub const MOST: usize = 8;

    /// Puts the principles into the system message, without a search.
    pub fn new(principles: PrincipleSet) -> Steering {
        Steering { principles, most: Steering::MOST, tell: Tell::System, ..Steering::default() }
    }

    /// The principles that are used: those with the largest weights, in the order of their weights.
    /// Principles with equal weights keep the order of the file. A set for random draws also gives its
    /// largest weights, so that all replies of a conversation follow the same list.
    pub fn used(&self) -> Vec<&Principle> {
        let mut used: Vec<&Principle> = self.principles.principles.iter().collect();
        used.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        if self.most > 0 {
            used.truncate(self.most);
        }
        used
    }

    /// The principles that the reward model reads: interventions, then the principles that are used.
    pub fn guidelines(&self) -> Vec<&str> {
        let fixed = self.interventions.iter().flat_map(|set| &set.principles);
        fixed.chain(self.used()).map(|principle| principle.definition.as_str()).collect()
    }

    /// The weight of each of [`Steering::guidelines`] in the score of a pointwise reward model.
    pub fn weights(&self) -> Vec<f32> {
        let fixed = self.interventions.iter().flat_map(|set| &set.principles);
        fixed.chain(self.used()).map(|principle| principle.weight as f32).collect()
    }

    /// Returns `messages` with the principles in them. A system message is added in front if one is needed
    /// and there is none. [`Tell::Question`] changes nothing in a conversation without a message of the user.
    pub fn messages(&self, messages: &[Message]) -> Vec<Message> {
        let mut messages = messages.to_vec();
        if self.principles.principles.is_empty() {
            return messages;
        }
        match self.tell {
            Tell::Nobody => {}
            Tell::System => {
                if messages.first().is_none_or(|first| first.role != "system") {
                    messages.insert(0, Message::new("system", ASSISTANT));
                }
                let text = format!("{}\n\n{}", messages[0].content.trim_end(), self.list(LEAD));
                messages[0].content = text;
            }
            Tell::Question => {
                if let Some(question) = messages.iter_mut().rev().find(|message| message.role == "user") {
                    question.content = format!("{}\n\n{}", self.list(REQUEST), question.content);
                }
            }
        }
        messages
    }

    /// The definitions of the principles that are used, one per line, after `lead`.
    fn list(&self, lead: &str) -> String {
        let mut text = lead.to_owned();
        for principle in self.used() {
            text.push_str("\n- ");
            text.push_str(&principle.definition);
        }
        text
    }

    /// `Ok` if the settings are in range. `reward` is whether there is a reward model.
    ///
    /// # Errors
    ///
    /// * [`SteerError::Setting`] for a search without candidates, or with blocks of 0 tokens;
    /// * [`SteerError::NoReward`] if a score is needed and there is no reward model.
    pub fn check(&self, reward: bool) -> Result<(), SteerError> {
        let wrong = |setting, value: usize, expected| {
            Err(SteerError::Setting { setting, value: value.to_string(), expected })
        };
        match self.search {
            Search::BestOf { n: 0 } | Search::Guided { n: 0, .. } => {
                return wrong("number of candidates", 0, "at least 1");
            }
            Search::Guided { block: 0, .. } => return wrong("tokens of a block", 0, "at least 1"),
            Search::BestOf { .. } if !reward => {
                return Err(SteerError::NoReward { what: "the best of several replies" });
            }
            Search::Guided { .. } if !reward => {
                return Err(SteerError::NoReward { what: "guided decoding" });
            }
            _ => {}
        }
        if self.scores && !reward {
            return Err(SteerError::NoReward { what: "a score" });
        }
        Ok(())
    }
}
