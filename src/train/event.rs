//! Reports of a run: its plan first, then each step.

use std::path::Path;

use super::data::DataReport;
use super::metrics::{AlignMetrics, EvalMetrics, Metrics, RolloutSample, StepMetrics};
use super::plan::Plan;
use crate::preferences::AggregateReport;

/// An event of a run. Every run reports to one closure, `&mut dyn FnMut(Event<'_>)`, on its own thread.
///
/// ```
/// use parr::train::Event;
///
/// /// One line for each event that a person wants to see.
/// fn line(event: Event<'_>) -> Option<String> {
///     match event {
///         Event::Planned(plan) => Some(format!("{} values to train", plan.parameters)),
///         Event::Step(step) => Some(format!("step {} in {:.1} s", step.number(), step.seconds())),
///         Event::Saved(path) => Some(format!("saved {}", path.display())),
///         _ => None,
///     }
/// }
/// assert_eq!(line(Event::Resumed { step: 4 }), None);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run is planned. Nothing is generated or trained yet.
    Planned(&'a RunPlan),
    /// The run resumes from a saved state.
    Resumed {
        /// Steps done before.
        step: u64,
    },
    /// The GPU was lost. It is open again, the model is loaded again, and the run resumes from its last saved
    /// state, or from its start if there is none.
    Reopened {
        /// The error that ended the attempt before.
        reason: &'a str,
    },
    /// The reward model hardly reads these principles, so the policy may learn nothing, or something else
    /// ([`RewardModel::unclear`](crate::reward::RewardModel::unclear)).
    Unclear {
        /// The principles, as text.
        principles: &'a [String],
    },
    /// The adapter was evaluated on held-out data before the first step.
    Measured(&'a EvalMetrics),
    /// The first step is done, and the number of steps that fit the time budget is known.
    Scheduled {
        /// Total number of steps.
        steps: u64,
        /// Duration of the first step.
        seconds: f64,
    },
    /// Replies were sampled and scored, and are in `rollouts/`.
    Rollout {
        /// The step that they belong to, counted from 1.
        step: u64,
        /// The replies.
        samples: &'a [RolloutSample],
    },
    /// A step is done.
    Step(Step<'a>),
    /// A state was saved to this file.
    Saved(&'a Path),
    /// Work without training steps made progress: one more token, reply, pair or score.
    Counted(Count<'a>),
}

/// Plan of a run, known before its first step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunPlan {
    /// Number of rows, of pairs in the first pass, or of prompts, depending on `data`. Held-out ones are not
    /// included.
    pub count: usize,
    /// Number of held-out rows or pairs, which the run is evaluated on.
    pub held_out: usize,
    /// Number of rows, held-out pairs or prompts that are left out because they are too long.
    pub left_out: usize,
    /// The data.
    pub data: DataSummary,
    /// Total number of steps. None if the first step decides how many fit the time budget, or if nothing is
    /// trained.
    pub steps: Option<u64>,
    /// Number of trainable values.
    pub parameters: usize,
    /// Number of adapters on the base.
    pub adapters: usize,
    /// Passes, and the device memory of the run. None if nothing is trained.
    pub memory: Option<Plan>,
    /// One message for each damaged state that was skipped.
    pub damaged: Vec<String>,
}

impl RunPlan {
    /// The plan of a run that trains nothing.
    pub(crate) fn untrained(count: usize, data: DataSummary) -> RunPlan {
        RunPlan {
            count,
            held_out: 0,
            left_out: 0,
            data,
            steps: None,
            parameters: 0,
            adapters: 0,
            memory: None,
            damaged: Vec::new(),
        }
    }

    /// Peak device memory of the run in bytes, the base included. 0 if nothing is trained.
    pub fn peak_bytes(&self) -> u64 {
        self.memory.as_ref().map_or(0, Plan::peak_bytes)
    }
}

/// Data of a run, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataSummary {
    /// Rows of text, for fine-tuning.
    Rows(DataReport),
    /// Pairs of replies, for reward models and DPO: the first pass over the comparisons or preferences.
    Pairs(AggregateReport),
    /// Replies with labels, for pointwise reward models.
    Labelled {
        /// Replies to train on.
        replies: usize,
        /// Their labels.
        labels: usize,
    },
    /// Prompts that a policy replies to, for reinforcement learning.
    Prompts {
        /// Replies in each step.
        replies: usize,
    },
    /// Prompts whose replies a judge compares.
    Judged {
        /// Pairs of replies to all prompts.
        pairs: usize,
        /// Comparisons that the file already contains.
        recorded: usize,
    },
    /// Prompts that a model answers with rules and exemplars in its context, for self-alignment.
    InContext {
        /// Prompts that are already answered.
        answered: usize,
        /// Rules in the prompt.
        rules: usize,
        /// Exemplars in the prompt.
        exemplars: usize,
        /// Tokens of the prompt before the request.
        tokens: usize,
        /// Rules that do not fit.
        left_out_rules: usize,
        /// Exemplars that do not fit.
        left_out_exemplars: usize,
    },
}

/// A finished step, by the kind of training.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// One optimizer step of fine-tuning, of a reward model or of DPO.
    Trained(&'a StepMetrics),
    /// One rollout and its updates, in reinforcement learning.
    Aligned(&'a AlignMetrics),
}

impl<'a> Step<'a> {
    /// Number of steps done, this one included.
    pub fn number(&self) -> u64 {
        self.metrics().step()
    }

    /// Duration of the step.
    pub fn seconds(&self) -> f64 {
        match self {
            Step::Trained(metrics) => metrics.step_seconds,
            Step::Aligned(metrics) => metrics.step_seconds,
        }
    }

    /// The training loss of an optimizer step. None for a step of reinforcement learning.
    pub fn loss(&self) -> Option<f64> {
        match self {
            Step::Trained(metrics) => Some(metrics.loss),
            Step::Aligned(_) => None,
        }
    }

    /// The mean reward of the replies of a step of reinforcement learning. None for other steps.
    pub fn reward(&self) -> Option<f64> {
        match self {
            Step::Trained(_) => None,
            Step::Aligned(metrics) => Some(metrics.rollout.scores),
        }
    }

    /// All figures by name, as in the logs.
    pub fn metrics(&self) -> &'a dyn Metrics {
        match self {
            Step::Trained(metrics) => *metrics,
            Step::Aligned(metrics) => *metrics,
        }
    }
}

/// Progress of work without training steps.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Count<'a> {
    /// What is counted.
    pub what: Items<'a>,
    /// Number done, including earlier calls.
    pub done: usize,
    /// Total number.
    pub of: usize,
    /// Number of answers that passed the filters, in self-alignment.
    pub kept: usize,
    /// Number of tokens that this call has generated.
    pub tokens: usize,
    /// Duration of this call so far.
    pub seconds: f64,
}

impl<'a> Count<'a> {
    /// `done` of `of` items, without any tokens.
    pub(crate) fn new(what: Items<'a>, done: usize, of: usize) -> Count<'a> {
        Count { what, done, of, kept: 0, tokens: 0, seconds: 0.0 }
    }
}

/// What a [`Count`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Items<'a> {
    /// Prompts that are answered, in self-alignment.
    Prompts,
    /// Pairs of replies that are judged, or dropped.
    Pairs,
    /// Replies that are scored, in the evaluation of a reward model.
    Scores,
    /// Prompts that one method answers, in a comparison of steering methods.
    Method(&'a str),
}
