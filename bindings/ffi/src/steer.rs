//! Replies steered by principles, which the prompt holds or by which the best of several is chosen.

use std::sync::Arc;

use parr::chat::ChatReply;
use parr::generate::CancelToken as CallToken;

use crate::ParrError;
use crate::call::{CancelToken, start};
use crate::callback::TokenListener;
use crate::principles::PrincipleSet;
use crate::reply::{Reply, ReplyOptions};
use crate::reward::{RewardModel, Score};
use crate::session::{Ask, ChatSession};

/// How a reply is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Search {
    /// One reply is sampled.
    Sample,
    /// A reward model chooses one of `n` whole replies.
    BestOf {
        /// Number of sampled replies.
        n: u32,
    },
    /// A reward model chooses one of `n` continuations of `block` tokens, repeatedly.
    Guided {
        /// Number of continuations sampled at each step.
        n: u32,
        /// Tokens per step.
        block: u32,
    },
}

/// Where the prompt of the policy holds the principles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Tell {
    /// Nowhere.
    Nobody,
    /// In the system message.
    System,
    /// Next to the question.
    Question,
}

/// Principles for a reply, and how they are applied.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Steering {
    /// Principles for the reply.
    pub principles: PrincipleSet,
    /// How the reply is chosen.
    pub search: Search,
    /// Where the prompt holds the principles; by default in the system message.
    #[uniffi(default = None)]
    pub tell: Option<Tell>,
    /// Fixed principles that only the reward model reads, against habits that it rewards wrongly.
    #[uniffi(default = None)]
    pub interventions: Option<PrincipleSet>,
    /// Most principles to use, in order of weight; 0 for all.
    #[uniffi(default = 8)]
    pub most: u32,
}

/// A reply, or the beginning of a reply, among which a choice was made.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Candidate {
    /// Its text so far.
    pub text: String,
    /// Seed of its sampling.
    pub seed: u64,
    /// Its score from the reward model, if it was scored.
    pub score: Option<Score>,
}

/// A steered reply.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SteeredReply {
    /// The reply, which is part of the conversation now. Its text is that of the chosen candidate.
    pub reply: Reply,
    /// Candidates of the last choice.
    pub candidates: Vec<Candidate>,
    /// Index of the chosen candidate.
    pub chosen: u32,
    /// Number of sampled tokens in total.
    pub generated_tokens: u64,
    /// Number of tokens that the reward model read.
    pub scored_tokens: u64,
}

#[uniffi::export]
impl ChatSession {
    /// Replies like [`ChatSession::reply`], steered by principles. `judge` chooses among candidates.
    ///
    /// # Errors
    ///
    /// Those of [`ChatSession::reply`], and:
    ///
    /// * [`ParrError::Argument`] for a choice without a judge, or among no candidates;
    /// * [`ParrError::Principles`] if a set has mistakes;
    /// * [`ParrError::Mismatch`] if the judge was opened for another model;
    /// * [`ParrError::Cancelled`] if it was cancelled before the best of several replies was chosen.
    #[uniffi::method(default(judge = None, options = None, listener = None, cancel = None))]
    pub async fn steered_reply(
        self: Arc<Self>,
        text: String,
        steering: Steering,
        judge: Option<Arc<RewardModel>>,
        options: Option<ReplyOptions>,
        listener: Option<Arc<dyn TokenListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<SteeredReply, ParrError> {
        let options = options.unwrap_or_default();
        let work = move |token: &CallToken| {
            let steering = steering.checked()?;
            self.steer(text, steering, judge.as_deref(), options, listener.as_deref(), token)
        };
        start(cancel.as_deref(), work).await
    }
}

impl Steering {
    fn checked(self) -> Result<parr::steer::Steering, ParrError> {
        Ok(parr::steer::Steering {
            principles: self.principles.checked()?,
            interventions: self.interventions.map(PrincipleSet::checked).transpose()?,
            most: self.most as usize,
            tell: match self.tell {
                Some(Tell::Nobody) => parr::steer::Tell::Nobody,
                None | Some(Tell::System) => parr::steer::Tell::System,
                Some(Tell::Question) => parr::steer::Tell::Question,
            },
            search: match self.search {
                Search::Sample => parr::steer::Search::Sample,
                Search::BestOf { n } => parr::steer::Search::BestOf { n: n as usize },
                Search::Guided { n, block } => {
                    parr::steer::Search::Guided { n: n as usize, block: block as usize }
                }
            },
            scores: false,
        })
    }
}

impl ChatSession {
    fn steer(
        &self,
        text: String,
        steering: parr::steer::Steering,
        judge: Option<&RewardModel>,
        options: ReplyOptions,
        listener: Option<&dyn TokenListener>,
        token: &CallToken,
    ) -> Result<SteeredReply, ParrError> {
        if let Some(judge) = judge {
            judge.belongs_to(self.model())?;
        }
        let reward = judge.map(|judge| (judge.folder.clone(), judge.options.any_base));
        let ChatReply { answer, dropped_messages, .. } =
            self.run(text, Ask { steering, reward, options }, listener, token)?;
        let choice = answer.last().cloned().unwrap_or_default();
        let candidate = |candidate: parr::steer::Candidate| Candidate {
            text: candidate.text,
            seed: candidate.seed,
            score: candidate.score.map(Into::into),
        };
        Ok(SteeredReply {
            reply: Reply::new(&answer.reply, dropped_messages),
            chosen: choice.chosen as u32,
            candidates: choice.candidates.into_iter().map(candidate).collect(),
            generated_tokens: answer.cost.generated_tokens as u64,
            scored_tokens: answer.cost.scored_tokens as u64,
        })
    }
}
