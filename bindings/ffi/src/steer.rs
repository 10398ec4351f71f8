//! Replies steered by principles: told to the model, or the best of several.

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

/// Where a reply comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Search {
    /// One reply is drawn.
    Sample,
    /// Of `n` whole replies a reward model chooses one.
    BestOf {
        /// Replies that are drawn.
        n: u32,
    },
    /// Of `n` continuations of `block` tokens a reward model chooses one, again and again.
    Guided {
        /// Continuations that are drawn at each step.
        n: u32,
        /// Tokens of a step.
        block: u32,
    },
}

/// Where the model that answers is told the principles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Tell {
    /// Nowhere.
    Nobody,
    /// In the system message.
    System,
    /// Beside the question.
    Question,
}

/// By what a reply is steered, and how.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Steering {
    /// What the reply is to be like.
    pub principles: PrincipleSet,
    /// Where it comes from.
    pub search: Search,
    /// Where the model that answers is told the principles: in the system message where nothing else is said.
    #[uniffi(default = None)]
    pub tell: Option<Tell>,
    /// Principles against habits that please a reward model and nobody else; it alone reads them.
    #[uniffi(default = None)]
    pub interventions: Option<PrincipleSet>,
    /// Most principles that are used, the heaviest; 0 for all.
    #[uniffi(default = 8)]
    pub most: u32,
}

/// A reply, or the beginning of one, that could have been chosen.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Candidate {
    /// Its text, up to here.
    pub text: String,
    /// What it was drawn with.
    pub seed: u64,
    /// What the reward model says of it, if it was asked.
    pub score: Option<Score>,
}

/// A steered reply.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SteeredReply {
    /// The reply, which became part of the conversation. Its text is that of the chosen candidate.
    pub reply: Reply,
    /// What the last choice was made among.
    pub candidates: Vec<Candidate>,
    /// The place of the one that was chosen.
    pub chosen: u32,
    /// Tokens that were drawn in all.
    pub generated_tokens: u64,
    /// Tokens that the reward model was given to read.
    pub scored_tokens: u64,
}

#[uniffi::export]
impl ChatSession {
    /// As [`ChatSession::reply`], steered by principles. `judge` chooses where there is a choice.
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
