//! Replies scored under principles.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use parr::generate::CancelToken as CallToken;
use parr::reward::{Question, RewardOptions};

use crate::ParrError;
use crate::call::{CancelToken, lock, serial, start};
use crate::model::{Loaded, Model};

/// A reward model on its base: what `parr reward train` or a [`TrainingJob`](crate::TrainingJob) makes.
/// Calls take turns.
#[derive(Debug, uniffi::Object)]
pub struct RewardModel {
    model: Arc<Model>,
    pub(crate) folder: PathBuf,
    pub(crate) options: RewardOptions,
    /// What tells it from others.
    pub(crate) serial: u64,
    /// For which opening of the device, and the model there.
    engine: Mutex<Option<(u64, parr::reward::RewardModel)>>,
}

/// What a reward model says of a reply. The difference of two scores, to the same prompt and under the same
/// principles, are the log-odds that the first reply is preferred; a score by itself means nothing.
#[derive(Clone, Copy, Debug, PartialEq, uniffi::Record)]
pub struct Score {
    /// The larger the better.
    pub value: f32,
    /// Tokens that were read.
    pub tokens: u32,
    /// Tokens that the prompt lost at its beginning, to fit.
    pub cut_prompt: u32,
    /// Tokens that the reply lost at its end, to fit.
    pub cut_reply: u32,
}

#[uniffi::export]
impl Model {
    /// Opens the reward model in `folder`: that of a training run, or a PEFT directory with a scalar head.
    /// `slots` inputs are computed together; `any_base` takes one that was trained on another copy of the
    /// weights.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`] and [`ParrError::Format`] if there is none, or a damaged one;
    /// * [`ParrError::Mismatch`] if it has no scalar head or was made for another model;
    /// * [`ParrError::Memory`] if the budget does not hold it.
    #[uniffi::method(default(slots = 8, any_base = false))]
    pub async fn open_reward(
        self: Arc<Self>,
        folder: String,
        slots: u32,
        any_base: bool,
    ) -> Result<Arc<RewardModel>, ParrError> {
        start(None, move |_| {
            let options = RewardOptions { slots: slots.max(1) as usize, any_base };
            let loaded = self.loaded()?;
            let folder = PathBuf::from(folder);
            let reward =
                RewardModel { model: self, folder, options, serial: serial(), engine: Mutex::default() };
            *lock(&reward.engine) = Some(reward.open(&loaded)?);
            Ok(Arc::new(reward))
        })
        .await
    }
}

#[uniffi::export]
impl RewardModel {
    /// Scores replies to one prompt under principles, given as text: definitions, or negatives. Without any it
    /// is asked for a good reply in general. One score each, in order.
    ///
    /// # Errors
    ///
    /// * [`ParrError::Argument`] for an empty prompt or reply;
    /// * [`ParrError::Context`] if the principles leave no room;
    /// * [`ParrError::Cancelled`] after a cancel.
    #[uniffi::method(default(cancel = None))]
    pub async fn score(
        self: Arc<Self>,
        prompt: String,
        replies: Vec<String>,
        principles: Vec<String>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Vec<Score>, ParrError> {
        start(cancel.as_deref(), move |token| {
            let replies: Vec<&str> = replies.iter().map(String::as_str).collect();
            self.judge(&prompt, &replies, &principles, token)
        })
        .await
    }
}

impl From<parr::reward::Score> for Score {
    fn from(score: parr::reward::Score) -> Self {
        Score {
            value: score.value,
            tokens: score.tokens as u32,
            cut_prompt: score.cut_prompt as u32,
            cut_reply: score.cut_reply as u32,
        }
    }
}

impl RewardModel {
    /// `Ok` if it was opened for `model`.
    pub(crate) fn belongs_to(&self, model: &Arc<Model>) -> Result<(), ParrError> {
        if Arc::ptr_eq(&self.model, model) {
            return Ok(());
        }
        Err(ParrError::Mismatch(
            "the reward model was opened for another model: open it for this one".to_owned(),
        ))
    }

    fn judge(
        &self,
        prompt: &str,
        replies: &[&str],
        principles: &[String],
        token: &CallToken,
    ) -> Result<Vec<Score>, ParrError> {
        let mut slot = lock(&self.engine);
        let loaded = self.model.loaded()?;
        // Taken out: after a panic there is none, and the next call opens it again.
        let (opened, mut reward) = match slot.take().filter(|(opened, _)| *opened == loaded.opened) {
            Some(engine) => engine,
            None => self.open(&loaded)?,
        };
        let principles: Vec<&str> = principles.iter().map(String::as_str).collect();
        let question = |&reply| Question { prompt, reply, principles: principles.clone() };
        let questions: Vec<Question<'_>> = replies.iter().map(question).collect();
        let scores = reward.score(&questions, token, &mut |_| {});
        *slot = Some((opened, reward));
        Ok(scores?.into_iter().map(Into::into).collect())
    }

    fn open(&self, loaded: &Loaded) -> Result<(u64, parr::reward::RewardModel), ParrError> {
        let RewardModel { model, folder, options, .. } = self;
        let bytes = parr::reward::RewardModel::plan_bytes(&loaded.model, folder, options)?;
        model.room(loaded, "the reward model and its cache", bytes)?;
        Ok((loaded.opened, parr::reward::RewardModel::open(&loaded.model, folder, options)?))
    }
}
