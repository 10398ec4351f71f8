//! What a run tells, and what it asks.

use parr::align::{AlignMetrics, AlignProgress, Sample};
use parr::train::metrics::Metrics;
use parr::train::{Progress, StepMetrics};

use crate::callback::CallbackError;

/// A number with a name, such as `train/accuracy`.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Figure {
    /// The name, as in the run's log.
    pub name: String,
    /// The value; may be infinite or no number.
    pub value: f64,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Mean loss, before the step changed anything; none in alignment, whose objectives are among the figures.
    pub loss: Option<f64>,
    /// Loss on held-out data, where it was measured.
    pub eval_loss: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Tokens of the step by its seconds.
    pub tokens_per_second: f64,
    /// Seconds of the step.
    pub seconds: f64,
    /// What the objective reports besides.
    pub figures: Vec<Figure>,
}

/// A reply that was sampled in alignment.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Sampled {
    /// Text of the prompt.
    pub prompt: String,
    /// The reply.
    pub reply: String,
    /// Ids of the principles that were drawn for it.
    pub principles: Vec<String>,
    /// What it was worth.
    pub reward: f64,
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum TrainingEvent {
    /// It is known what is ahead; nothing was allocated yet.
    Started {
        /// Steps in all.
        steps: u64,
        /// Trainable values.
        parameters: u64,
        /// Device memory that the run will hold at its peak, the base included, in bytes.
        peak_bytes: u64,
    },
    /// It goes on from a saved state.
    Resumed {
        /// Steps done before.
        step: u64,
    },
    /// It was measured on held-out data before its first step.
    Measured {
        /// Mean loss.
        loss: f64,
        /// What the objective reports besides.
        figures: Vec<Figure>,
    },
    /// Replies were sampled and scored, in alignment.
    Rollout {
        /// The step that they belong to.
        step: u64,
        /// The replies.
        samples: Vec<Sampled>,
    },
    /// A step is done.
    Step {
        /// The step.
        report: StepReport,
    },
    /// A state is on disk.
    Saved {
        /// The file.
        path: String,
    },
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TrainingState {
    /// It reads its data and looks for a state to go on from.
    Preparing,
    /// It takes steps.
    Running,
    /// The app paused it.
    Paused,
    /// The policy holds the next step back.
    Waiting,
    /// All steps are done.
    Done,
    /// It was cancelled, with its state saved.
    Cancelled,
    /// It failed; waiting for it tells why.
    Failed,
}

/// Where a run stands, in numbers.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct TrainingStatus {
    /// Where it stands.
    pub state: TrainingState,
    /// Steps done.
    pub step: u64,
    /// Steps in all; 0 while it prepares.
    pub steps: u64,
    /// The loss of the last step.
    pub loss: Option<f64>,
}

/// How a run ended, where it did not fail.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TrainingOutcome {
    /// All steps are done.
    Done {
        /// Folder of the adapter or reward model.
        adapter: String,
    },
    /// It was cancelled with its state saved; another run with `resume` goes on.
    Cancelled,
}

/// Hears what happens in a run, on its thread.
#[uniffi::export(foreign)]
pub trait TrainingListener: Send + Sync {
    /// Something happened.
    ///
    /// # Errors
    ///
    /// [`CallbackError`] cancels the run, which then fails with [`ParrError::Callback`](crate::ParrError); its
    /// state is saved.
    fn on_event(&self, event: TrainingEvent) -> Result<(), CallbackError>;
}

/// What the policy says of the next step.
#[derive(Clone, Copy, Debug, PartialEq, uniffi::Enum)]
pub enum StepDecision {
    /// Take it.
    Go,
    /// Ask again after so many seconds: the battery is low, the device hot, or someone is using the app.
    Wait {
        /// Seconds.
        seconds: f64,
    },
    /// Save and end: another run with `resume` goes on.
    Stop,
}

/// Decides between steps whether the device may work now: by battery, temperature, whether the app is in the
/// foreground.
#[uniffi::export(foreign)]
pub trait TrainingPolicy: Send + Sync {
    /// Asked before every step, on the run's thread, with the number of steps done.
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
    /// What alignment tells; how many steps it plans is told where it starts.
    pub(super) fn of_alignment(progress: AlignProgress<'_>) -> Option<TrainingEvent> {
        let sampled = |sample: &Sample| Sampled {
            prompt: sample.prompt.clone(),
            reply: sample.reply.clone(),
            principles: sample.principles.clone(),
            reward: sample.reward,
        };
        Some(match progress {
            AlignProgress::Resumed(step) => TrainingEvent::Resumed { step },
            AlignProgress::Rollout { step, samples } => {
                TrainingEvent::Rollout { step, samples: samples.iter().map(sampled).collect() }
            }
            AlignProgress::Step(metrics) => TrainingEvent::Step { report: metrics.into() },
            AlignProgress::Saved(path) => TrainingEvent::Saved { path: path.to_string_lossy().into_owned() },
            AlignProgress::Planned { .. } => return None,
        })
    }
}

impl From<Progress<'_>> for TrainingEvent {
    fn from(progress: Progress<'_>) -> Self {
        match progress {
            Progress::Resumed(step) => TrainingEvent::Resumed { step },
            Progress::Measured(metrics) => {
                TrainingEvent::Measured { loss: metrics.loss, figures: figures(&metrics.objective) }
            }
            Progress::Step(metrics) => TrainingEvent::Step { report: metrics.into() },
            Progress::Saved(path) => TrainingEvent::Saved { path: path.to_string_lossy().into_owned() },
        }
    }
}
