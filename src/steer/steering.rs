//! How replies are steered: by which principles, told to whom, and by what search.

use serde::{Deserialize, Serialize};

use super::SteerError;
use crate::principles::{Principle, PrincipleSet};
use crate::tokenizer::Message;

/// What a model is told before the principles where nobody wrote a system message.
const ASSISTANT: &str = "You are a helpful assistant.";
/// What stands between the system message and the principles.
const LEAD: &str = "Whatever you are asked, your reply keeps to these principles. The first matter most:";

/// What stands before the principles in a message of the user.
const REQUEST: &str = "Keep to these principles in your reply. The first matter most:";

/// Where the model that answers is told the principles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// Nowhere.
    #[default]
    Nobody,
    /// At the end of the system message: computed once for a whole conversation.
    System,
    /// In front of the last message of the user, and of no earlier one: small models tend to heed this more.
    Question,
}

impl Tell {
    /// All there are.
    pub const ALL: [Tell; 3] = [Tell::System, Tell::Question, Tell::Nobody];

    /// `system`, `question` or `nobody`.
    pub fn name(self) -> &'static str {
        match self {
            Tell::Nobody => "nobody",
            Tell::System => "system",
            Tell::Question => "question",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Tell> {
        Tell::ALL.into_iter().find(|tell| tell.name() == name)
    }
}

/// Where a reply comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// One reply is drawn.
    #[default]
    Sample,
    /// Of `n` whole replies the reward model chooses one.
    BestOf {
        /// Replies that are drawn, at least 1.
        n: usize,
    },
    /// Of `n` continuations of `block` tokens the reward model chooses one, as often as it takes to reach an
    /// end: reward-guided decoding (ARGS, arXiv 2402.01694), in the blockwise best-of-n form of controlled
    /// decoding (arXiv 2310.17022). A reward model was taught on whole replies; of a beginning it
    /// judges what is there.
    Guided {
        /// Continuations that are drawn at each step, at least 1.
        n: usize,
        /// Tokens of a step, at least 1.
        block: usize,
    },
}

impl Search {
    /// Candidates at a time.
    pub fn n(self) -> usize {
        match self {
            Search::Sample => 1,
            Search::BestOf { n } | Search::Guided { n, .. } => n,
        }
    }

    /// A bound on how far choosing takes the distribution of replies from the one that candidates are drawn
    /// from, in nats of KL divergence: `log n - (n - 1) / n` for each choice (arXiv 2401.01879), of
    /// which guided decoding makes `choices` (arXiv 2310.17022). Nothing for one sample.
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
    /// What a reply is to be like. Without any nobody is told anything, and a reward model is asked for a good
    /// reply in general.
    pub principles: PrincipleSet,
    /// Fixed principles against habits that please the reward model and nobody else: it reads them first. The
    /// model that answers is not told, for they speak of habits that it may not have.
    pub interventions: Option<PrincipleSet>,
    /// Most of `principles` that are used; 0 for all. Reward models are taught on lists of up to eight.
    pub most: usize,
    /// Where the model that answers is told the principles.
    pub tell: Tell,
    /// Where a reply comes from.
    pub search: Search,
    /// Whether to score more than the search needs: a lone sample, and every candidate of the last choice
    /// under each principle alone.
    pub scores: bool,
}

impl Steering {
    /// The most principles of a list that a reward model is taught on (SALMON, arXiv 2310.05910).
    pub const MOST: usize = 8;

    /// Principles in the system message, and nothing else.
    pub fn new(principles: PrincipleSet) -> Steering {
        Steering { principles, most: Steering::MOST, tell: Tell::System, ..Steering::default() }
    }

    /// The principles that are used: the heaviest, in the order of their weights, and of equal weights those
    /// that stand first in the file. A set that is made to be drawn from gives its heaviest as well, so that one
    /// conversation is held to one list.
    pub fn used(&self) -> Vec<&Principle> {
        let mut used: Vec<&Principle> = self.principles.principles.iter().collect();
        used.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        if self.most > 0 {
            used.truncate(self.most);
        }
        used
    }

    /// What the reward model reads replies by: interventions, then the principles that are used.
    pub fn guidelines(&self) -> Vec<&str> {
        let fixed = self.interventions.iter().flat_map(|set| &set.principles);
        fixed.chain(self.used()).map(|principle| principle.definition.as_str()).collect()
    }

    /// `messages` with the principles told in them. A system message is put in front if there is none and one is
    /// needed; a conversation without a message of the user is told nothing in one.
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

    /// The definitions of the principles that are used, one a line behind `lead`.
    fn list(&self, lead: &str) -> String {
        let mut text = lead.to_owned();
        for principle in self.used() {
            text.push_str("\n- ");
            text.push_str(&principle.definition);
        }
        text
    }

    /// `Ok` if the settings make sense, for a model with a reward model or without.
    ///
    /// # Errors
    ///
    /// * [`SteerError::Setting`] for a search of no candidates, or of blocks of no tokens;
    /// * [`SteerError::NoReward`] if something is to be scored by nobody.
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
