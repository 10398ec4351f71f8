//! Events of a run, and decisions that it asks for.

use parr::train::metrics::Metrics;
use parr::train::{AlignMetrics, Event, RolloutSample, Step, StepMetrics};

use crate::callback::CallbackError;

/// A number with a name, such as `train/accuracy`.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Figure {
    /// The name, as in the run's log.
    pub name: String,
    /// The value. May be infinite or not a number.
    pub value: f64,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct StepReport {
    /// Number of steps done, including this one.
    pub step: u64,
    /// Mean loss, before the step's update. None in alignment, whose objectives are in `figures`.
    pub loss: Option<f64>,
    /// Loss on held-out data, if it was measured.
    pub eval_loss: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Global norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// Tokens per second in this step.
    pub tokens_per_second: f64,
    /// Duration of the step, in seconds.
    pub seconds: f64,
    /// Other figures that the objective reports.
    pub figures: Vec<Figure>,
}

/// A reply that was sampled in alignment.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Sampled {
    /// Text of the prompt.
    pub prompt: String,
    /// The reply.
    pub reply: String,
    /// Ids of the principles drawn for the reply.
    pub principles: Vec<String>,
    /// Of a pointwise reward model, the log-odds that the reply keeps each of these principles. Empty otherwise.
    pub parts: Vec<f32>,
    /// The reward.
    pub reward: f64,
}

/// An event in a run.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum TrainingEvent {
    /// The run is planned, before anything is allocated.
    Started {
        /// Total number of steps.
        steps: u64,
        /// Number of trainable values.
        parameters: u64,
        /// Peak device memory of the run, including the base, in bytes.
        peak_bytes: u64,
    },
    /// The run resumed from a saved state.
    Resumed {
        /// Number of steps done before.
        step: u64,
    },
    /// The reward model hardly reads these principles, so the policy may learn nothing, or something else.
    Unclear {
        /// The principles, as text.
        principles: Vec<String>,
    },
    /// The model was evaluated on held-out data before the first step.
    Measured {
        /// Mean loss.
        loss: f64,
        /// Other figures that the objective reports.
        figures: Vec<Figure>,
    },
    /// Replies were sampled and scored, in alignment.
    Rollout {
        /// Number of the step.
        step: u64,
        /// The replies.
        samples: Vec<Sampled>,
    },
    /// A step is done.
    Step {
        /// The step's figures.
        report: StepReport,
    },
    /// A state was saved to disk.
    Saved {
        /// Path of the file.
        path: String,
    },
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TrainingState {
    /// The run reads its data and looks for a state to resume from.
    Preparing,
    /// The run takes steps.
    Running,
    /// The app paused the run.
    Paused,
    /// The app's [`TrainingPolicy`] delays the next step.
    Waiting,
    /// All steps are done.
    Done,
    /// The run was cancelled and its state saved.
    Cancelled,
    /// The run failed. [`TrainingJob::wait`](crate::TrainingJob) returns the error.
    Failed,
}

/// State and progress of a run.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct TrainingStatus {
    /// State of the run.
    pub state: TrainingState,
    /// Number of steps done.
    pub step: u64,
    /// Total number of steps. 0 while the run prepares.
    pub steps: u64,
    /// Loss of the last step.
    pub loss: Option<f64>,
}

/// The result of a run that did not fail.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TrainingOutcome {
    /// All steps are done.
    Done {
        /// Folder of the adapter or reward model.
        adapter: String,
    },
    /// The run was cancelled and its state saved. Start another run with `resume` to continue.
    Cancelled,
}

/// Receives the events of a run, on the run's thread.
#[uniffi::export(foreign)]
pub trait TrainingListener: Send + Sync {
    /// Called for each event.
    ///
    /// # Errors
    ///
    /// A [`CallbackError`] cancels the run, which then fails with
    /// [`ParrError::Callback`](crate::ParrError). Its state is saved.
    fn on_event(&self, event: TrainingEvent) -> Result<(), CallbackError>;
}

/// The policy's decision about the next step.
#[derive(Clone, Copy, Debug, PartialEq, uniffi::Enum)]
pub enum StepDecision {
    /// Take the step.
    Go,
    /// Ask again after a delay, for example because the battery is low, the device is hot or the app is in
    /// use.
    Wait {
        /// Delay in seconds.
        seconds: f64,
    },
    /// Save the state and end the run. Start another run with `resume` to continue.
    Stop,
}

/// Decides between steps whether the run may continue now, for example by battery, temperature, or whether
/// the app is in the foreground.
#[uniffi::export(foreign)]
pub trait TrainingPolicy: Send + Sync {
    /// Called before every step, on the run's thread, with the number of steps done.
    ///
    /// # Errors
    ///
    /// As [`TrainingListener::on_event`].
    fn may_step(&self, step: u64) -> Result<StepDecision, CallbackError>;
}

fn figures<N: AsRef<str>>(metrics: &[(N, f64)]) -> Vec<Figure> {
    let figure = |(name, value): &(N, f64)| Figure { name: name.as_ref().to_owned(), value: *value };
    metrics.iter().map(figure).collect()
}

impl From<&StepMetrics> for StepReport {
    fn from(metrics: &StepMetrics) -> Self {
        let mut all = figures(&metrics.objective);
        all.extend(figures(&metrics.held_out));
        StepReport {
            step: metrics.step,
            loss: Some(metrics.loss),
            eval_loss: metrics.eval_loss,
            learning_rate: metrics.learning_rate,
            grad_norm: metrics.grad_norm,
            tokens_per_second: metrics.tokens_per_second,
            seconds: metrics.step_seconds,
            figures: all,
        }
    }
}

impl From<&AlignMetrics> for StepReport {
    fn from(metrics: &AlignMetrics) -> Self {
        StepReport {
            step: metrics.step,
            loss: None,
            eval_loss: None,
            learning_rate: metrics.learning_rate,
            grad_norm: metrics.grad_norm,
            tokens_per_second: metrics.tokens_per_second,
            seconds: metrics.step_seconds,
            figures: figures(&metrics.tags()),
        }
    }
}

impl TrainingEvent {
    /// Converts an event of the core. None for events that a training run of the bindings does not report:
    /// [`TrainingEvent::Started`] has the number of steps already, and nothing is counted.
    pub(super) fn of(event: Event<'_>) -> Option<TrainingEvent> {
        let sampled = |sample: &RolloutSample| Sampled {
            prompt: sample.prompt.clone(),
            reply: sample.reply.clone(),
            principles: sample.principles.clone(),
            parts: sample.parts.clone(),
            reward: sample.reward,
        };
        Some(match event {
            Event::Planned(plan) => TrainingEvent::Started {
                // Without a time budget the number of steps is known.
                steps: plan.steps.unwrap_or(0),
                parameters: plan.parameters as u64,
                peak_bytes: plan.peak_bytes(),
            },
            Event::Resumed { step } => TrainingEvent::Resumed { step },
            Event::Unclear { principles } => TrainingEvent::Unclear { principles: principles.to_vec() },
            Event::Measured(metrics) => {
                TrainingEvent::Measured { loss: metrics.loss, figures: figures(&metrics.objective) }
            }
            Event::Rollout { step, samples } => {
                TrainingEvent::Rollout { step, samples: samples.iter().map(sampled).collect() }
            }
            Event::Step(Step::Trained(metrics)) => TrainingEvent::Step { report: metrics.into() },
            Event::Step(Step::Aligned(metrics)) => TrainingEvent::Step { report: metrics.into() },
            Event::Saved(path) => TrainingEvent::Saved { path: path.to_string_lossy().into_owned() },
            _ => return None,
        })
    }
}
