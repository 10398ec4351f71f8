//! A worker's side: one device that computes tasks.

use std::path::Path;

use super::message::{
    FIGURES, Gradient, Message, Outcome, Passage, Reply, Rollout, Scored, Setup, Shared, Task, decode, encode,
};
use crate::adapter::Adapter;
use crate::align::algorithm::RolloutPart;
use crate::align::reward_role::options;
use crate::align::roles::{InitialAdapters, Roles};
use crate::align::rollout::{Draw, generate};
use crate::align::run::generation;
use crate::align::update::places;
use crate::align::{AlignConfig, AlignError, RewardRole};
use crate::generate::{CancelToken, Generator};
use crate::model::Model;
use crate::reward::{RewardModel, ScoreRequest};
use crate::settings::Settings;
use crate::tokenizer::TokenId;
use crate::train::{Learner, Unit, adamw, base_sha256};

/// Computes the tasks of a run on one device.
///
/// ```no_run
/// use parr::Model;
/// use parr::align::Worker;
/// use parr::generate::CancelToken;
///
/// # fn receive() -> (Vec<u8>, Vec<u8>) { (Vec::new(), Vec::new()) }
/// # fn send(_: &[u8]) {}
/// # let setup: Vec<u8> = Vec::new();
/// let model = Model::open("smollm2")?;
/// // `setup` is what `Workers::begin` got, in another process.
/// let mut worker = Worker::new(&model, None, None, &setup)?;
/// loop {
///     let (shared, task) = receive();
///     send(&worker.run(&shared, &task, &CancelToken::new())?);
/// }
/// # #[expect(unreachable_code)]
/// # Ok::<(), parr::Error>(())
/// ```
pub struct Worker {
    config: AlignConfig,
    end_of_turn: Vec<TokenId>,
    roles: Roles,
    learner: Learner,
    generator: Generator,
    reward: Option<RewardModel>,
    /// Number of optimizer steps behind the learner's values. None before the first task.
    updates: Option<u64>,
}

impl Worker {
    /// Opens a worker for the run of `setup`. `model`, the adapter `init` that the policy starts from, and the reward
    /// model `reward` must be those of the run.
    ///
    /// # Errors
    ///
    /// * [`AlignError::Workers`] if one of them is another one than the run's, if the model runs on kernels of another
    ///   family, or if `setup` is from another version of Parr;
    /// * as [`Align::run`](crate::align::Align::run) if the device cannot hold them.
    pub fn new(
        model: &Model,
        init: Option<&Adapter>,
        reward: Option<RewardRole<'_>>,
        setup: &[u8],
    ) -> Result<Worker, AlignError> {
        let (setup, _): (Setup, _) = read(setup, "setup")?;
        let version = env!("CARGO_PKG_VERSION");
        if setup.parr != version {
            return Err(fault(format!("the run is of Parr {}, this worker of Parr {version}", setup.parr)));
        }
        let config = AlignConfig::parse(&setup.config, Path::new("the settings of the run"))?;
        let same = |what: &str, ours: Option<String>, theirs: Option<String>| {
            let other = || fault(format!("this worker has another {what} than the run"));
            if ours == theirs { Ok(()) } else { Err(other()) }
        };
        same("base", Some(base_sha256(model)?), Some(setup.base_sha256))?;
        same("adapter to start from", init.map(Adapter::sha256), setup.init_sha256)?;
        same("reward model", reward.as_ref().map(RewardRole::sha256), setup.reward_sha256)?;
        let (ours, theirs) = (model.device().tuning().family.name(), setup.family);
        if ours != theirs {
            return Err(fault(format!(
                "this worker runs kernels of the family {ours}, the run {theirs}, whose last digits differ; \
                 set PARR_KERNELS={theirs} for this worker"
            )));
        }
        let cast = InitialAdapters::new(model, init, reward.as_ref(), &config)?;
        let roles = cast.attach(model, setup.unit_replies)?;
        let settings = config.run_settings();
        let mut learner =
            Learner::new(model, &roles.bank, &roles.learning(), &setup.shape, adamw(&settings))?;
        learner.set_temperature(config.rollout.temperature as f32);
        let generator = Generator::with_adapters(model, generation(setup.slots, setup.context), &roles.bank)?;
        let reward = match (reward, roles.reward) {
            (Some(RewardRole::Shared { card, .. }), Some(id)) => {
                Some(RewardModel::in_bank(model, &roles.bank, id, card, &options(model))?)
            }
            (Some(RewardRole::Apart(model)), _) => Some(*model),
            _ => None,
        };
        let end_of_turn = setup.end_of_turn;
        Ok(Worker { config, end_of_turn, roles, learner, generator, reward, updates: None })
    }

    /// Computes one task, and returns its result. `shared` and `task` are those of
    /// [`Workers::run`](super::Workers::run).
    ///
    /// # Errors
    ///
    /// * [`AlignError::Workers`] if a message is damaged or belongs to another run;
    /// * [`GenerateError::Cancelled`](crate::generate::GenerateError::Cancelled) after a cancel;
    /// * as [`Align::run`](crate::align::Align::run) if the device fails.
    pub fn run(&mut self, shared: &[u8], task: &[u8], cancel: &CancelToken) -> Result<Vec<u8>, AlignError> {
        let (task, _): (Task, _) = read(task, "task")?;
        let (shared, values): (Option<Shared>, _) = read(shared, "shared part of the tasks")?;
        let mut rollout = None;
        if let Some(shared) = shared {
            if self.updates != Some(shared.updates) {
                self.updates = None;
                self.learner.set_values(&values)?;
                self.updates = Some(shared.updates);
            }
            rollout = shared.rollout;
        }
        if self.updates.is_none() && !matches!(task, Task::Score(_)) {
            return Err(fault("a task came without the values of the adapters".to_owned()));
        }
        let mut gradient = Vec::new();
        let outcome = match task {
            Task::Sample(draws) => self.sample(draws, cancel)?,
            Task::Score(replies) => self.score(&replies, cancel)?,
            Task::Read { reference, units } => {
                let units = self.units(&units, if reference { Roles::reference } else { Roles::learners })?;
                Outcome::Read(self.learner.read(&units)?)
            }
            Task::Learn { units, members, n_replies, n_tokens } => {
                let rollout =
                    rollout.ok_or_else(|| fault("an update came without its rollout".to_owned()))?;
                let learned = self.learn(&units, &members, &rollout, (n_replies, n_tokens))?;
                gradient = self.learner.gradients()?;
                Outcome::Learned(learned)
            }
        };
        Ok(encode(&outcome, &gradient))
    }

    fn sample(&mut self, draws: Vec<Draw>, cancel: &CancelToken) -> Result<Outcome, AlignError> {
        let Worker { generator, roles, config, end_of_turn, .. } = self;
        Ok(Outcome::Sampled(generate(generator, roles, &config.rollout, end_of_turn, draws, cancel)?))
    }

    fn score(&mut self, replies: &[Reply], cancel: &CancelToken) -> Result<Outcome, AlignError> {
        let reward =
            self.reward.as_mut().ok_or_else(|| fault("this worker has no reward model".to_owned()))?;
        let requests: Vec<ScoreRequest<'_>> = replies.iter().map(Reply::request).collect();
        let scores = reward.score(&requests, cancel, &mut |_| {})?;
        Ok(Outcome::Scored(
            scores.into_iter().map(|score| Scored { value: score.value, parts: score.parts }).collect(),
        ))
    }

    /// The gradient of one pass.
    fn learn(
        &mut self,
        passages: &[Passage],
        members: &[Vec<usize>],
        rollout: &Rollout,
        (n_replies, n_tokens): (f64, f64),
    ) -> Result<Gradient, AlignError> {
        let units = self.units(passages, Roles::learners)?;
        let traces = &rollout.traces[..];
        let lengths = |(passage, members): (&Passage, &Vec<usize>)| {
            let read = passage.replies.iter().map(|reply| Some(reply.len()));
            read.eq(members.iter().map(|&index| traces.get(index).map(|trace| trace.real.len())))
        };
        if members.len() != passages.len() || !passages.iter().zip(members).all(lengths) {
            return Err(fault("the units of an update are not those of its rollout".to_owned()));
        }
        let objective =
            (self.config.algorithm.spec().objective)(&self.config, traces, rollout.kl_coefficient);
        self.learner.clear()?;
        let (learner, roles) = (&mut self.learner, &self.roles);
        let learned = learner.accumulate(&units, &mut |range, stats| {
            let replies = places(roles, traces, &members[range]);
            objective.evaluate(&RolloutPart { traces, replies, n_replies, n_tokens }, stats)
        })?;
        let place = |(name, value): &(&'static str, f64)| {
            let place = FIGURES.iter().position(|known| known == name);
            place.map(|place| (place, *value)).ok_or_else(|| fault(format!("the figure {name} is unknown")))
        };
        let figures = learned.metrics.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Gradient { loss: learned.loss, tokens: learned.tokens, figures })
    }

    /// The sequences of `passages`, as `read` makes them.
    fn units(
        &self,
        passages: &[Passage],
        read: fn(&Roles, &[TokenId], &[&[TokenId]]) -> Unit,
    ) -> Result<Vec<Unit>, AlignError> {
        let sound = |passage: &Passage| {
            !passage.prompt.is_empty()
                && !passage.replies.is_empty()
                && passage.replies.iter().all(|reply| !reply.is_empty())
                && (self.roles.unit_replies > 1 || passage.replies.len() == 1)
        };
        if !passages.iter().all(sound) {
            return Err(fault("a unit of a task is empty".to_owned()));
        }
        let unit = |passage: &Passage| {
            let replies: Vec<&[TokenId]> = passage.replies.iter().map(Vec::as_slice).collect();
            read(&self.roles, &passage.prompt, &replies)
        };
        Ok(passages.iter().map(unit).collect())
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("config", &self.config).field("updates", &self.updates).finish()
    }
}

fn read<T: serde::de::DeserializeOwned>(message: &[u8], what: &str) -> Result<Message<T>, AlignError> {
    decode(message).map_err(|error| fault(format!("the {what}: {error}")))
}

fn fault(reason: String) -> AlignError {
    AlignError::Workers { reason }
}
