//! Where replies and scores come from: a generator, or a share of one; a reward model, or a share of one.

use std::time::Instant;

use crate::generate::{CancelToken, GenerateError, Generator, Job, Reply, Request, Scheduler, TokenEvent};
use crate::model::Model;
use crate::reward::{Form, RewardError, RewardModel, Score, ScoreRequest};

/// Something that continues requests.
pub trait Replies {
    /// The model.
    fn model(&self) -> &Model;

    /// Maximum number of tokens of a prompt and its reply together.
    fn context(&self) -> usize;

    /// Continues every request and returns one [`Reply`] each, in order, as [`Generator::generate`] does.
    ///
    /// # Errors
    ///
    /// As [`Generator::generate`].
    fn generate(
        &mut self,
        requests: &[Request],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError>;
}

impl Replies for Generator {
    fn model(&self) -> &Model {
        self.model()
    }

    fn context(&self) -> usize {
        self.context()
    }

    fn generate(
        &mut self,
        requests: &[Request],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError> {
        self.generate(requests, cancel, on_token)
    }
}

/// Something that scores replies under principles.
pub trait Scores {
    /// How its scores of several principles combine.
    fn form(&self) -> Form;

    /// Scores every request, in order, as [`RewardModel::score`] does.
    ///
    /// # Errors
    ///
    /// As [`RewardModel::score`].
    fn score(
        &mut self,
        requests: &[ScoreRequest<'_>],
        cancel: &CancelToken,
        on_done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Score>, RewardError>;
}

impl Scores for RewardModel {
    fn form(&self) -> Form {
        self.reward_card().form
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest<'_>],
        cancel: &CancelToken,
        on_done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Score>, RewardError> {
        self.score(requests, cancel, on_done)
    }
}

/// One caller of a [`Scheduler`]: its requests share the generator with those of others.
#[derive(Clone, Debug)]
pub struct SchedulerClient {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The model of its generator.
    pub model: Model,
    /// The caller's name: see [`Job::client`].
    pub client: String,
    /// Name of the adapter; `None` for the base model.
    pub adapter: Option<String>,
    /// When replies end, complete or not.
    pub deadline: Option<Instant>,
}

impl Replies for SchedulerClient {
    fn model(&self) -> &Model {
        &self.model
    }

    fn context(&self) -> usize {
        self.scheduler.context()
    }

    fn generate(
        &mut self,
        requests: &[Request],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError> {
        let job = |request: &Request| Job {
            request: request.clone(),
            adapter: self.adapter.clone(),
            client: self.client.clone(),
            deadline: self.deadline,
            cancel: cancel.clone(),
        };
        self.scheduler.generate(requests.iter().map(job).collect(), on_token)
    }
}
