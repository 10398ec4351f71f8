//! Replies scored under principles.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use parr::generate::CancelToken as CallToken;
use parr::reward::{RewardOptions, ScoreRequest};

use crate::ParrError;
use crate::call::{CancelToken, lock, start};
use crate::model::{Loaded, Model};

/// A reward model on its base model, made by `parr reward train` or a [`TrainingJob`](crate::TrainingJob).
/// It runs one call at a time.
#[derive(Debug, uniffi::Object)]
pub struct RewardModel {
    model: Arc<Model>,
    pub(crate) folder: PathBuf,
    pub(crate) options: RewardOptions,
    /// Number of the device's opening, and the reward model on that device.
    engine: Mutex<Option<(u64, parr::reward::RewardModel)>>,
}

/// A reward model's score of a reply.
///
/// Of a pairwise reward model, the difference between two scores, for the same prompt and the same principles, is
/// the log-odds that the first reply is preferred, and a single score has no meaning. Of a pointwise one, it is the
/// sum of `parts`.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Score {
    /// The score. Higher is better.
    pub value: f32,
    /// Of a pointwise reward model, the log-odds that the reply keeps each principle, in their order: above 0 if it
    /// rather does. Empty of a pairwise one.
    pub parts: Vec<f32>,
    /// Number of tokens read.
    pub tokens: u32,
    /// Number of tokens cut from the start of the prompt to fit.
    pub cut_prompt: u32,
    /// Number of tokens cut from the end of the reply to fit.
    pub cut_reply: u32,
}

#[uniffi::export]
impl Model {
    /// Opens the reward model in `folder`: the folder of a training run, or a PEFT directory with a scalar
    /// head. `slots` is the number of inputs computed together. `any_base` also accepts a reward model that
    /// was trained on another copy of the weights.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`] if there is no reward model, and [`ParrError::Format`] if it is damaged;
    /// * [`ParrError::Mismatch`] if it has no scalar head or was made for another model;
    /// * [`ParrError::Memory`] if it exceeds the budget.
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
            let reward = RewardModel { model: self, folder, options, engine: Mutex::default() };
            *lock(&reward.engine) = Some(reward.open(&loaded)?);
            Ok(Arc::new(reward))
        })
        .await
    }
}

#[uniffi::export]
impl RewardModel {
    /// Scores replies to one prompt under principles and returns one score per reply, in order. Principles
    /// are given as text: definitions or negatives. Without principles it scores how good a reply is in
    /// general.
    ///
    /// # Errors
    ///
    /// * [`ParrError::Argument`] for an empty prompt or reply;
    /// * [`ParrError::Context`] if the principles leave no room for prompt and reply;
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
            parts: score.parts,
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
        let question = |&reply| ScoreRequest::new(prompt, reply, principles.clone());
        let questions: Vec<ScoreRequest<'_>> = replies.iter().map(question).collect();
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
