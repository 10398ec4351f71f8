//! The reward model as a source of rewards.

use super::AlignError;
use crate::adapter::Adapter;
use crate::align::estimate::{FinishedReply, RewardSource};
use crate::generate::CancelToken;
use crate::model::Model;
use crate::reward::{RewardCard, RewardError, RewardModel, RewardOptions, ScoreRequest};

/// The reward model of a run.
#[derive(Debug)]
pub enum RewardRole<'a> {
    /// On the policy's own base: it takes a place in the same bank, and the critic starts from it.
    Shared {
        /// The adapter, with its scalar head.
        adapter: &'a Adapter,
        /// How its input is made.
        card: RewardCard,
    },
    /// On another base, of another tokenizer perhaps: it gets texts.
    Apart(Box<RewardModel>),
}

impl<'a> RewardRole<'a> {
    /// The judge that `adapter` is on the policy's base.
    ///
    /// # Errors
    ///
    /// [`AlignError::Reward`] if it has no head, or its card makes no sense.
    pub fn shared(adapter: &'a Adapter, path: &std::path::Path) -> Result<RewardRole<'a>, AlignError> {
        if adapter.head.is_none() {
            return Err(RewardError::NoHead { path: path.to_owned() }.into());
        }
        let card = RewardCard::read(&adapter.card, path)?;
        Ok(RewardRole::Shared { adapter, card })
    }
}

/// How a reward model in the policy's bank computes: as many inputs together as fill a pass if they are short.
/// Its keys and values are kept beside everything else of a run, and more of them would only take memory.
pub(super) fn options(model: &Model) -> RewardOptions {
    const SHORT: usize = 64;
    let slots = (model.device().tuning().prefill_tokens / SHORT).max(1);
    RewardOptions { slots, any_base: true }
}

/// The source `reward_model`: what a reward model says of a reply under the principles drawn for its prompt.
///
/// An empty reply cannot be read. It gets the lowest score of its rollout, or 0 where all are empty.
#[derive(Debug)]
pub struct ModelReward {
    reward: RewardModel,
    cancel: CancelToken,
}

impl ModelReward {
    /// What the source is called.
    pub const NAME: &'static str = "reward_model";

    /// A source that `cancel` interrupts.
    pub fn new(reward: RewardModel, cancel: &CancelToken) -> ModelReward {
        ModelReward { reward, cancel: cancel.clone() }
    }
}

fn question<'a>(reply: &FinishedReply<'a>) -> ScoreRequest<'a> {
    let FinishedReply { prompt, principles, reply, .. } = *reply;
    ScoreRequest { prompt, reply, principles: principles.to_vec() }
}

impl RewardSource for ModelReward {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        let readable = |reply: &FinishedReply<'_>| !reply.reply.trim().is_empty();
        let questions: Vec<ScoreRequest<'_>> =
            replies.iter().filter(|reply| readable(reply)).map(question).collect();
        let scores = self.reward.score(&questions, &self.cancel, &mut |_| {})?;
        let lowest = scores.iter().map(|score| score.value).fold(f32::INFINITY, f32::min);
        let lowest = if lowest.is_finite() { f64::from(lowest) } else { 0.0 };
        let mut scores = scores.into_iter().map(|score| f64::from(score.value));
        let score = |reply| if readable(reply) { scores.next().unwrap_or(lowest) } else { lowest };
        Ok(replies.iter().map(score).collect())
    }
}
