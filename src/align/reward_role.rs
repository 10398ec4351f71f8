//! The reward model as a source of rewards.

use std::borrow::{BorrowMut, Cow};

use super::AlignError;
use crate::adapter::Adapter;
use crate::align::estimate::{FinishedReply, RewardSource};
use crate::generate::CancelToken;
use crate::model::Model;
use crate::reward::{RewardCard, RewardError, RewardModel, RewardOptions, ScoreRequest};

/// The reward model of a run.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum RewardRole<'a> {
    /// On the policy's base, as an adapter in the same bank. The critic starts from this adapter.
    Shared {
        /// The adapter, with its scalar head.
        adapter: Cow<'a, Adapter>,
        /// Format of its input.
        card: RewardCard,
    },
    /// On another base, which may have another tokenizer, or on the first layers of the policy's base. It reads prompts
    /// and replies as text.
    Apart(Box<RewardModel>),
}

impl<'a> RewardRole<'a> {
    /// The reward model in `adapter`, on the policy's base. `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`AlignError::Reward`] if the adapter has no head, or if its card cannot be used.
    pub fn shared(adapter: &'a Adapter, path: &std::path::Path) -> Result<RewardRole<'a>, AlignError> {
        if adapter.head.is_none() {
            return Err(RewardError::NoHead { path: path.to_owned() }.into());
        }
        let card = RewardCard::read(&adapter.card, path)?;
        if card.layers.is_some() {
            let reason =
                "has `layers`, so it shares no bank with the policy: use RewardRole::open".to_owned();
            return Err(RewardError::Card { path: path.to_owned(), reason }.into());
        }
        Ok(RewardRole::Shared { adapter: Cow::Borrowed(adapter), card })
    }

    /// Opens the reward model in `folder`, on the base of `model`. `any_base` accepts one that was trained on other
    /// weights.
    ///
    /// # Errors
    ///
    /// [`AlignError::Reward`] if there is no reward model in the folder, or it was trained on another base.
    pub fn open(
        model: &Model,
        folder: impl AsRef<std::path::Path>,
        any_base: bool,
    ) -> Result<RewardRole<'static>, AlignError> {
        let (adapter, card) = RewardModel::read(model, folder.as_ref(), any_base)?;
        if card.layers.is_some() {
            let options = RewardOptions { any_base, ..options(model) };
            return Ok(RewardRole::Apart(Box::new(RewardModel::new(model, &adapter, card, &options)?)));
        }
        Ok(RewardRole::Shared { adapter: Cow::Owned(adapter), card })
    }
}

/// Options of a reward model in the policy's bank: enough slots to fill a pass with short inputs. More slots
/// would take memory for keys and values, but would not be faster.
pub(super) fn options(model: &Model) -> RewardOptions {
    const SHORT: usize = 64;
    let slots = (model.device().tuning().prefill_tokens / SHORT).max(1);
    RewardOptions { slots, any_base: true }
}

/// The source `reward_model`: a reward model's score of a reply under the principles drawn for its prompt.
///
/// An empty reply cannot be read. It gets the lowest score of its rollout, or 0 if all replies are empty. The
/// reward model is owned or borrowed.
#[derive(Debug)]
pub struct ModelReward<R = RewardModel> {
    reward: R,
    cancel: CancelToken,
    parts: Vec<Vec<f32>>,
}

impl ModelReward {
    /// Name of the source.
    pub const NAME: &'static str = "reward_model";
}

impl<R: BorrowMut<RewardModel>> ModelReward<R> {
    /// Creates a source that `cancel` interrupts.
    pub fn new(reward: R, cancel: &CancelToken) -> ModelReward<R> {
        ModelReward { reward, cancel: cancel.clone(), parts: Vec::new() }
    }
}

fn request<'a>(reply: &FinishedReply<'a>) -> ScoreRequest<'a> {
    let FinishedReply { prompt, principles, reply, .. } = *reply;
    ScoreRequest::new(prompt, reply, principles.to_vec())
}

/// Scores of replies, and their parts, where `score` gives those of the replies that are not empty.
pub(super) fn with_lowest(
    replies: &[FinishedReply<'_>],
    score: impl FnOnce(&[ScoreRequest<'_>]) -> Result<Vec<(f32, Vec<f32>)>, AlignError>,
) -> Result<(Vec<f64>, Vec<Vec<f32>>), AlignError> {
    let readable = |reply: &FinishedReply<'_>| !reply.reply.trim().is_empty();
    let requests: Vec<ScoreRequest<'_>> =
        replies.iter().filter(|reply| readable(reply)).map(request).collect();
    let scores = score(&requests)?;
    let lowest = scores.iter().map(|(value, _)| *value).fold(f32::INFINITY, f32::min);
    let lowest = if lowest.is_finite() { lowest } else { 0.0 };
    let mut scores = scores.into_iter();
    let of = |reply| if readable(reply) { scores.next() } else { None };
    let all = replies.iter().map(of).map(|score| score.unwrap_or((lowest, Vec::new())));
    Ok(all.map(|(value, parts)| (f64::from(value), parts)).unzip())
}

impl<R: BorrowMut<RewardModel>> RewardSource for ModelReward<R> {
    fn name(&self) -> &str {
        <ModelReward>::NAME
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        let (values, parts) = with_lowest(replies, |requests| {
            let scores = self.reward.borrow_mut().score(requests, &self.cancel, &mut |_| {})?;
            Ok(scores.into_iter().map(|score| (score.value, score.parts)).collect())
        })?;
        self.parts = parts;
        Ok(values)
    }

    fn parts(&mut self) -> Vec<Vec<f32>> {
        std::mem::take(&mut self.parts)
    }
}
