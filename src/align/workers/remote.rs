//! The run's side: divides the parts of a step into tasks, and joins their results.

use std::cell::RefCell;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::Workers;
use super::message::{
    FIGURES, Gradient, Message, Outcome, Passage, Reply, Rollout, Setup, Shared, Task, decode, encode,
};
use crate::align::estimate::{FinishedReply, RewardSource, Trace};
use crate::align::reward_role::with_lowest;
use crate::align::rollout::{Draw, Sampled};
use crate::align::{AlignConfig, AlignError, ModelReward};
use crate::generate::{CancelToken, GenerateError, GeneratorOptions};
use crate::model::Model;
use crate::reward::ScoreRequest;
use crate::settings::Settings;
use crate::tokenizer::TokenId;
use crate::train::objective::{TokenStats, add_metrics};
use crate::train::{Learned, Learner, PassShape, TrainError, Unit, base_sha256};

/// Number of replies that a worker samples, or scores, in one task. Fewer would share the work more evenly, but decode
/// with less of a GPU's speed.
const REPLIES: usize = 8;

/// The workers of a run.
#[derive(Clone)]
pub(in crate::align) struct Remote<'w> {
    workers: Rc<RefCell<dyn Workers + 'w>>,
    cancel: CancelToken,
}

/// The message from which each worker of a run is made.
pub(in crate::align) fn setup(
    model: &Model,
    config: &AlignConfig,
    (shape, unit_replies): (PassShape, usize),
    generation: &GeneratorOptions,
    end_of_turn: &[TokenId],
    (init_sha256, reward_sha256): (Option<String>, Option<String>),
) -> Result<Vec<u8>, TrainError> {
    let setup = Setup {
        parr: env!("CARGO_PKG_VERSION").to_owned(),
        config: config.to_toml(),
        shape,
        unit_replies,
        slots: generation.slots.min(REPLIES),
        context: generation.context,
        end_of_turn: end_of_turn.to_vec(),
        base_sha256: base_sha256(model)?,
        init_sha256,
        reward_sha256,
        family: model.device().tuning().family.name().to_owned(),
    };
    Ok(encode(&setup, &[]))
}

/// A mini-batch whose gradient workers compute.
pub(in crate::align) struct MiniBatch<'a> {
    /// The units, as the learner reads them.
    pub sequences: Vec<Unit>,
    /// The same, as workers get them.
    pub passages: Vec<Passage>,
    /// Indices of the replies of each unit.
    pub members: &'a [Vec<usize>],
    pub n_replies: f64,
    pub n_tokens: f64,
}

impl<'w> Remote<'w> {
    /// Starts the workers of a run.
    pub fn begin(
        workers: Rc<RefCell<dyn Workers + 'w>>,
        setup: &[u8],
        cancel: &CancelToken,
    ) -> Result<Remote<'w>, AlignError> {
        workers.borrow_mut().begin(setup).map_err(|reason| AlignError::Workers { reason })?;
        Ok(Remote { workers, cancel: cancel.clone() })
    }

    /// Samples `draws`, of which `together` belong to one prompt.
    pub fn sample(
        &self,
        learner: &Learner,
        draws: Vec<Draw>,
        together: usize,
    ) -> Result<Vec<Sampled>, AlignError> {
        let size = (REPLIES / together).max(1) * together;
        let tasks = draws.chunks(size).map(|draws| Task::Sample(draws.to_vec()));
        let results = self.run(&shared(learner, None)?, tasks)?;
        let mut all = Vec::with_capacity(draws.len());
        for (outcome, _) in results {
            match outcome {
                Outcome::Sampled(replies) => all.extend(replies),
                other => return Err(unexpected(&other)),
            }
        }
        if all.len() != draws.len() || all.iter().any(|reply| reply.tokens.is_empty()) {
            return Err(fault(format!("{} replies came back for {} prompts", all.len(), draws.len())));
        }
        Ok(all)
    }

    /// Reads `units`, which are `passages`, by the reference or by the trained adapters.
    pub fn read(
        &self,
        learner: &Learner,
        reference: bool,
        units: &[Unit],
        passages: &[Passage],
    ) -> Result<TokenStats, AlignError> {
        let passes = learner.passes(units)?;
        let tasks =
            passes.iter().map(|range| Task::Read { reference, units: passages[range.clone()].to_vec() });
        let mut all = TokenStats::default();
        for (outcome, _) in self.run(&shared(learner, None)?, tasks)? {
            match outcome {
                Outcome::Read(stats) => {
                    all.logprob.extend(stats.logprob);
                    all.entropy.extend(stats.entropy);
                    all.value.extend(stats.value);
                }
                other => return Err(unexpected(&other)),
            }
        }
        let readings: usize = units.iter().flatten().map(|sequence| sequence.readings.len()).sum();
        if all.logprob.len() != readings || all.entropy.len() != readings {
            return Err(fault(format!("{} readings came back for {readings}", all.logprob.len())));
        }
        Ok(all)
    }

    /// Takes one step of learning rate `rate` with the gradient of `batch`.
    pub fn step(
        &self,
        learner: &mut Learner,
        traces: &[Trace],
        kl_coefficient: f64,
        batch: &MiniBatch<'_>,
        rate: f64,
    ) -> Result<Learned, AlignError> {
        let passes = learner.passes(&batch.sequences)?;
        let tasks = passes.iter().map(|range| Task::Learn {
            units: batch.passages[range.clone()].to_vec(),
            members: batch.members[range.clone()].to_vec(),
            n_replies: batch.n_replies,
            n_tokens: batch.n_tokens,
        });
        let rollout = Rollout { traces: traces.to_vec(), kl_coefficient };
        let mut learned = Learned::default();
        let mut sums: Vec<Vec<f32>> = Vec::new();
        for (outcome, gradient) in self.run(&shared(learner, Some(rollout))?, tasks)? {
            let Outcome::Learned(Gradient { loss, tokens, figures }) = outcome else {
                return Err(unexpected(&outcome));
            };
            learned.loss += loss;
            learned.tokens += tokens;
            learned.passes += 1;
            let named = |(place, value): (usize, f64)| FIGURES.get(place).map(|&name| (name, value));
            let figures: Vec<_> = figures.into_iter().filter_map(named).collect();
            add_metrics(&mut learned.metrics, &figures);
            if sums.is_empty() {
                sums = gradient;
                continue;
            }
            // In the order of the passes, as one device adds them.
            if gradient.iter().map(Vec::len).ne(sums.iter().map(Vec::len)) {
                return Err(fault("gradients of two passes have other sizes".to_owned()));
            }
            for (sums, gradient) in sums.iter_mut().zip(gradient) {
                sums.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
            }
        }
        learned.grad_norm = learner.step_with(&sums, rate)?;
        Ok(learned)
    }

    /// Scores replies by the reward model.
    fn score(&self, requests: &[ScoreRequest<'_>]) -> Result<Vec<(f32, Vec<f32>)>, AlignError> {
        let tasks = requests.chunks(REPLIES).map(|chunk| Task::Score(chunk.iter().map(Reply::new).collect()));
        // The reward model does not change.
        let shared = encode(&None::<Shared>, &[]);
        let mut all = Vec::with_capacity(requests.len());
        for (outcome, _) in self.run(&shared, tasks)? {
            match outcome {
                Outcome::Scored(scores) => {
                    all.extend(scores.into_iter().map(|score| (score.value, score.parts)))
                }
                other => return Err(unexpected(&other)),
            }
        }
        if all.len() != requests.len() {
            return Err(fault(format!("{} scores came back for {} replies", all.len(), requests.len())));
        }
        Ok(all)
    }

    /// Runs `tasks`. Returns the result of each, and the values behind it.
    fn run(
        &self,
        shared: &[u8],
        tasks: impl Iterator<Item = Task>,
    ) -> Result<Vec<Message<Outcome>>, AlignError> {
        let tasks: Vec<Vec<u8>> = tasks.map(|task| encode(&task, &[])).collect();
        let results = self.workers.borrow_mut().run(shared, &tasks, &self.cancel);
        if self.cancel.is_cancelled() {
            return Err(GenerateError::Cancelled.into());
        }
        let results = results.map_err(|reason| AlignError::Workers { reason })?;
        if results.len() != tasks.len() {
            return Err(fault(format!("{} results came back for {} tasks", results.len(), tasks.len())));
        }
        results.iter().map(|result| opened(result)).collect()
    }
}

/// The source `reward_model`, computed by workers.
pub(in crate::align) struct RemoteReward<'w> {
    remote: Remote<'w>,
    parts: Vec<Vec<f32>>,
}

impl<'w> RemoteReward<'w> {
    pub fn new(remote: &Remote<'w>) -> RemoteReward<'w> {
        RemoteReward { remote: remote.clone(), parts: Vec::new() }
    }
}

impl RewardSource for RemoteReward<'_> {
    fn name(&self) -> &str {
        <ModelReward>::NAME
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        let (values, parts) = with_lowest(replies, |requests| self.remote.score(requests))?;
        self.parts = parts;
        Ok(values)
    }

    fn parts(&mut self) -> Vec<Vec<f32>> {
        std::mem::take(&mut self.parts)
    }
}

/// The part of a message that all tasks share: the values of the trained adapters, and the rollout of an update.
fn shared(learner: &Learner, rollout: Option<Rollout>) -> Result<Vec<u8>, TrainError> {
    Ok(encode(&Some(Shared { updates: learner.steps(), rollout }), &learner.values()?))
}

fn opened<T: DeserializeOwned>(result: &[u8]) -> Result<Message<T>, AlignError> {
    decode(result).map_err(|error| fault(error.to_string()))
}

fn unexpected(outcome: &Outcome) -> AlignError {
    let kind = match outcome {
        Outcome::Sampled(_) => "replies",
        Outcome::Scored(_) => "scores",
        Outcome::Read(_) => "readings",
        Outcome::Learned(_) => "a gradient",
    };
    fault(format!("{kind} came back for another task"))
}

fn fault(reason: String) -> AlignError {
    AlignError::Workers { reason }
}
