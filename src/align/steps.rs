//! The training loop: sample, score, read, update.

use std::path::Path;
use std::time::{Duration, Instant};

use super::roles::Roles;
use super::rollout::{Sampler, generate, read, reward};
use super::samples::{by_principle, samples, write};
use super::update::{UpdateInput, UpdateResult, update};
use super::workers::Remote;
use super::{AlignConfig, AlignError, AlignMetrics};
use crate::align::estimate::{Collapse, Health, KlController, RewardSum, RolloutFigures, Trace, Watch};
use crate::error::ErrorKind;
use crate::generate::{CancelToken, Generator, distinct};
use crate::train::state::StateMeta;
use crate::train::{Control, Event, Learner, Logs, Schedule, Step, TrainError, save};

/// Names of the values that a saved state holds besides the adapters.
pub(super) const UPDATES: &str = "updates";
pub(super) const KL_COEFFICIENT: &str = "kl_coefficient";
pub(super) const PLANNED: &str = "planned_steps";
pub(super) const UNIT_REPLIES: &str = "unit_replies";

/// The parts of a run.
pub(super) struct Steps<'a> {
    pub config: &'a AlignConfig,
    pub out: &'a Path,
    pub roles: Roles,
    pub learner: Learner,
    pub generator: Generator,
    /// What computes the heavy parts of a step instead of `learner` and `generator`.
    pub workers: Option<Remote<'a>>,
    pub sampler: Sampler<'a>,
    pub rewards: RewardSum<'a>,
    pub controller: KlController,
    pub watch: Watch,
    /// The state of the run. [`Steps::save`] adds the entries of the other parts.
    pub meta: StateMeta,
    /// Total number of steps. `None` until the first step of a run with a time budget has been timed.
    pub total: Option<u64>,
    /// Time limit of the run.
    pub budget: Option<Duration>,
}

/// A finished step.
pub(super) struct Stepped {
    pub metrics: AlignMetrics,
    /// The sign of a collapse, if the rollout shows one. The policy is not updated on such a rollout.
    pub collapse: Option<Collapse>,
}

impl Steps<'_> {
    /// Runs to the last step, or to the first one whose rollout shows a collapse, and returns that step.
    /// `None` if a resumed run has no steps left.
    pub fn run(
        &mut self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Stepped>, AlignError> {
        let mut logs = Logs::open(self.out, self.meta.step)?;
        if self.meta.step > 0 {
            on_event(Event::Resumed { step: self.meta.step });
        }
        let (mut saved, mut last) = (self.meta.step, None);
        while self.total.is_none_or(|total| self.meta.step < total) {
            control.wait(self.meta.step);
            if control.is_finishing() && !control.cancel.is_cancelled() {
                if self.meta.step > saved {
                    on_event(Event::Saved(&self.save(&mut logs)?));
                }
                break;
            }
            let stepped = match self.step(&control.cancel, on_event) {
                Err(error) if error.kind() == ErrorKind::Cancelled => {
                    if self.meta.step > saved {
                        on_event(Event::Saved(&self.save(&mut logs)?));
                    }
                    return Err(TrainError::Cancelled.into());
                }
                stepped => stepped?,
            };
            logs.write(&stepped.metrics)?;
            on_event(Event::Step(Step::Aligned(&stepped.metrics)));
            if stepped.collapse.is_some() {
                return Ok(Some(stepped));
            }
            self.schedule(stepped.metrics.step_seconds, on_event);
            let (done, every) = (self.meta.step, self.config.checkpoint.every);
            if self.total == Some(done) || (every > 0 && done.is_multiple_of(every)) {
                on_event(Event::Saved(&self.save(&mut logs)?));
                saved = done;
            }
            last = Some(stepped);
        }
        Ok(last)
    }

    /// Sets the number of steps that fit into the time budget, from the duration of the first step.
    fn schedule(&mut self, seconds: f64, on_event: &mut dyn FnMut(Event<'_>)) {
        if let (None, Some(budget)) = (self.total, self.budget) {
            let steps = ((budget.as_secs_f64() / seconds) as u64).max(self.meta.step);
            self.total = Some(steps);
            self.meta.extra.insert(PLANNED.to_owned(), steps as f64);
            on_event(Event::Scheduled { steps, seconds });
        }
    }

    fn save(&mut self, logs: &mut Logs) -> Result<std::path::PathBuf, TrainError> {
        let mut meta = self.meta.clone();
        meta.extra.insert(UPDATES.to_owned(), self.learner.steps() as f64);
        meta.extra.insert(KL_COEFFICIENT.to_owned(), self.controller.coefficient);
        meta.extra.extend(self.watch.entries().into_iter().map(|(name, value)| (name.to_owned(), value)));
        save(&self.learner, self.out, self.config.checkpoint.keep, meta, logs)
    }

    /// Learning rate of the next step. The rate of the first step does not depend on the total number of
    /// steps.
    fn rate(&self) -> f64 {
        let AlignConfig { schedule, optimizer, .. } = self.config;
        Schedule::new(schedule, optimizer.learning_rate, self.total.unwrap_or(1)).rate(self.meta.step)
    }

    fn step(
        &mut self,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Stepped, AlignError> {
        if cancel.is_cancelled() {
            return Err(TrainError::Cancelled.into());
        }
        let (config, step, rate) = (self.config, self.meta.step, self.rate());
        let mut clock = Clock::start();
        let Steps { generator, workers, roles, learner, sampler, .. } = self;
        let end_of_turn = sampler.prompts.end_of_turn.as_slice();
        let drawn = sampler.sample(step, |draws| match workers {
            Some(workers) => workers.sample(learner, draws, config.rollout.replies),
            None => Ok(generate(generator, roles, &config.rollout, end_of_turn, draws, cancel)?),
        })?;
        let (sample_seconds, pace) = (clock.lap(), self.generator.pace());
        let rewards = reward(&mut self.rewards, &drawn)?;
        let reward_seconds = clock.lap();
        let read =
            read(&mut self.learner, self.workers.as_mut(), &self.roles, &drawn, config, &rewards.total)?;
        let read_seconds = clock.lap();

        let coefficient = self.controller.coefficient;
        let ended: Vec<bool> = drawn.iter().map(|drawn| drawn.ended).collect();
        let mut figures =
            RolloutFigures::new(&read.traces, &rewards, &ended, config.kl.estimator, coefficient);
        let replies = drawn.iter().map(|drawn| drawn.tokens.as_slice());
        let distinct_2 = distinct(replies, 2, config.collapse.window);
        let collapse = self.watch.observe(Health { kl: figures.kl, entropy: read.entropy, distinct_2 });
        let shown = samples(&drawn, &rewards, &read.traces);
        figures.principles = by_principle(&shown);
        write(self.out, step + 1, &shown)?;
        on_event(Event::Rollout { step: step + 1, samples: &shown });

        let objective = (config.algorithm.spec().objective)(config, &read.traces, coefficient);
        let update = match collapse {
            Some(_) => UpdateResult::none(f64::INFINITY),
            None => {
                let (replies, traces, objective) = (&drawn[..], &read.traces[..], &*objective);
                let forwarded = read.forwarded.as_ref();
                let input = UpdateInput {
                    config,
                    step,
                    learning_rate: rate,
                    replies,
                    traces,
                    kl_coefficient: coefficient,
                    objective,
                    forwarded,
                };
                update(&mut self.learner, self.workers.as_mut(), &self.roles, &input)?
            }
        };
        let update_seconds = clock.lap();
        let step_seconds = clock.total();
        let n_tokens: usize = drawn.iter().map(|drawn| drawn.tokens.len()).sum();
        self.meta.tokens += (read.tokens + update.tokens) as u64;
        let prompts = (step + 1) * config.rollout.prompts as u64;
        let metrics = AlignMetrics {
            step: step + 1,
            episode: (step + 1) * config.samples() as u64,
            epoch: prompts as f64 / self.sampler.prompts.prompts.len() as f64,
            learning_rate: rate,
            distinct_2,
            entropy: read.entropy,
            value: mean_value(&read.traces),
            value_error: objective.value_error(),
            updates: update.updates.figures(),
            n_updates: update.updates.taken(),
            grad_norm: update.grad_norm,
            logprob_distance: read.logprob_distance,
            num_tokens: self.meta.tokens,
            tokens_per_second: n_tokens as f64 / step_seconds,
            sample_seconds,
            pace,
            reward_seconds,
            read_seconds,
            update_seconds,
            step_seconds,
            rollout: figures,
        };
        if collapse.is_none() {
            self.controller.update(metrics.rollout.kl);
            self.meta.step = step + 1;
        }
        Ok(Stepped { metrics, collapse })
    }
}

/// Mean of all values. `None` without a critic.
fn mean_value(traces: &[Trace]) -> Option<f64> {
    let values = || traces.iter().flat_map(|trace| &trace.value);
    let count = values().count();
    (count > 0).then(|| values().sum::<f64>() / count as f64)
}

/// Measures the duration of each part of a step.
struct Clock {
    start: Instant,
    lap: Instant,
}

impl Clock {
    fn start() -> Clock {
        let start = Instant::now();
        Clock { start, lap: start }
    }

    /// Seconds since the last lap.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.lap).as_secs_f64();
        self.lap = now;
        seconds
    }

    /// Seconds since the start.
    fn total(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}
