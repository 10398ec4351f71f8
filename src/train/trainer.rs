//! The training loop, which all objectives share.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::TrainError;
use super::event::{Event, Step};
use super::learner::{Learner, Unit};
use super::metrics::{EvalMetrics, JsonlLog, Metrics, MetricsLog, StepMetrics, TensorBoardLog};
use super::objective::{Evaluated, TokenStats};
use super::schedule::Schedule;
use super::state::{StateMeta, TrainState};
use crate::file::AtFile;
use crate::generate::CancelToken;
use crate::output;

/// Name of the metrics file in a run's folder.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// Sequences of one training step or of one evaluation.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Sequences, in groups that a loss compares.
    pub units: Vec<Unit>,
    /// The labels of each unit's readings, if the loss compares readings with labels; otherwise empty.
    pub labels: Vec<Vec<bool>>,
    /// Divisor of the summed losses: the number of targets, or of pairs, in the whole batch.
    pub normalizer: f64,
}

/// Task of a run: its batches and their loss.
pub trait Task {
    /// Returns the batch of the step that follows `step` completed steps. The same number must always give
    /// the same batch, so that a run can resume.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if the data gives no batch.
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError>;

    /// Number of passes over the rows in `step` steps, as a fraction.
    fn epochs(&self, step: u64) -> f64;

    /// Held-out batch, on which the run is evaluated. Empty for no evaluation.
    fn held_out(&self) -> &Batch;

    /// Computes the loss of the units `range` of `batch` from the readings of their sequences.
    fn evaluate(&self, batch: &Batch, range: Range<usize>, stats: &TokenStats) -> Evaluated;

    /// Computes the figures of a step that are not sums over its passes, from its loss and its summed
    /// figures.
    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)>;

    /// Largest difference between the log-probabilities of a token in generation and in training. None if the
    /// task cannot measure it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the device fails.
    fn logprob_distance(&self, learner: &mut Learner) -> Result<Option<f64>, TrainError>;
}

/// Length of a run, and how often it is evaluated and saved.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Folder for logs and states; it must exist.
    pub folder: PathBuf,
    /// Total number of optimizer steps.
    pub steps: u64,
    /// Learning rate of every step.
    pub schedule: Schedule,
    /// Number of steps between evaluations. 0 evaluates only before the first and after the last step.
    pub evaluate_every: u64,
    /// Number of steps between saved states. 0 saves only after the last step.
    pub save_every: u64,
    /// Number of states that are kept.
    pub keep: usize,
    /// Metadata that identifies the run, so that the state of another run is not resumed.
    pub meta: StateMeta,
}

/// Pauses or cancels a run, from another thread or from a callback. Clones control the same run.
#[derive(Clone, Default)]
pub struct Control {
    /// Stops the run after the current step and saves its state.
    pub cancel: CancelToken,
    finishing: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    gate: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("cancel", &self.cancel)
            .field("finishing", &self.finishing)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// A control of a run that `cancel` stops.
    pub fn new(cancel: &CancelToken) -> Self {
        Control { cancel: cancel.clone(), ..Control::default() }
    }

    /// Adds a gate, which the run calls on its own thread before every step, with the number of steps done.
    /// The gate returns when the next step may be taken, or cancels the run. An app can check battery and
    /// temperature there. States that were due are saved before the call.
    ///
    /// Self-alignment and preferences have no steps while they sample. There the gate is called before each
    /// chunk of prompts, with the number of prompts or pairs done.
    #[must_use]
    pub fn with_gate(self, gate: impl Fn(u64) + Send + Sync + 'static) -> Control {
        Control { gate: Some(Arc::new(gate)), ..self }
    }

    /// Ends the run after the current step, as if it were the last: its state is saved, and the adapter is written. A
    /// run that resumes takes no further step. Another call without this continues with the remaining steps.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
    }

    /// Whether the run will end after the current step.
    pub fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// Pauses the run after the current step, until [`Control::resume`] or a cancel.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Continues a paused run.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }

    /// Whether the run is paused, or will pause after the current step.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Waits until the step that follows `step` completed steps may be taken, or the run is cancelled.
    pub(crate) fn wait(&self, step: u64) {
        while self.is_paused() && !self.cancel.is_cancelled() && !self.is_finishing() {
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(gate) = self.gate.as_ref().filter(|_| !self.cancel.is_cancelled()) {
            gate(step);
        }
    }
}

/// Runs `task` from the state of `learner` to the last step, and reports to `on_event`.
///
/// # Errors
///
/// * [`TrainError::Cancelled`] after a cancel: the state is saved, and another call resumes the run;
/// * [`TrainError::NotFinite`] if a loss or a gradient is NaN or infinite; the last saved state is unchanged;
/// * [`TrainError::Io`] if a log or a state cannot be written;
/// * [`TrainError::Device`] if the device fails.
pub fn run(
    learner: &mut Learner,
    task: &mut dyn Task,
    options: &TrainerOptions,
    control: &Control,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(), TrainError> {
    let mut meta = options.meta.clone();
    let mut logs = Logs::open(&options.folder, learner.steps())?;
    if learner.steps() > 0 {
        on_event(Event::Resumed { step: learner.steps() });
    } else if let Some(loss) = held_out_loss(learner, task)? {
        let EvalLoss { loss, targets, seconds, figures } = loss;
        let measured = EvalMetrics { step: 0, loss, num_targets: targets, seconds, objective: figures };
        logs.write(&measured)?;
        on_event(Event::Measured(&measured));
    }
    let due = |every: u64, done: u64| done == options.steps || (every > 0 && done.is_multiple_of(every));
    let mut saved = learner.steps();
    while learner.steps() < options.steps {
        control.wait(learner.steps());
        let cancelled = control.cancel.is_cancelled();
        if cancelled || control.is_finishing() {
            if learner.steps() > saved {
                let meta = StateMeta { step: learner.steps(), ..meta };
                on_event(Event::Saved(&save(learner, &options.folder, options.keep, meta, &mut logs)?));
            }
            return if cancelled { Err(TrainError::Cancelled) } else { Ok(()) };
        }
        let start = Instant::now();
        let step = learner.steps();
        let batch = task.batch(step)?;
        let rate = options.schedule.rate(step);
        let evaluate = &mut |range, stats: &TokenStats| task.evaluate(&batch, range, stats);
        let learned = learner.step(&batch.units, evaluate, rate)?;
        let done = learner.steps();
        meta.tokens += learned.tokens as u64;
        let seconds = start.elapsed().as_secs_f64();
        let mut objective = learned.metrics;
        objective.extend(task.summarize(learned.loss, &objective));
        let mut metrics = StepMetrics {
            objective,
            step: done,
            epoch: task.epochs(done),
            loss: learned.loss,
            learning_rate: rate,
            grad_norm: learned.grad_norm,
            num_tokens: meta.tokens,
            num_targets: batch.normalizer as u64,
            tokens_per_second: learned.tokens as f64 / seconds,
            step_seconds: seconds,
            ..StepMetrics::default()
        };
        if due(options.evaluate_every, done) {
            if let Some(EvalLoss { loss, figures, .. }) = held_out_loss(learner, task)? {
                (metrics.eval_loss, metrics.held_out) = (Some(loss), figures);
            }
            metrics.logprob_distance = task.logprob_distance(learner)?;
        }
        logs.write(&metrics)?;
        on_event(Event::Step(Step::Trained(&metrics)));
        if due(options.save_every, done) {
            let meta = StateMeta { step: done, ..meta.clone() };
            on_event(Event::Saved(&save(learner, &options.folder, options.keep, meta, &mut logs)?));
            saved = done;
        }
    }
    Ok(())
}

struct EvalLoss {
    loss: f64,
    targets: u64,
    seconds: f64,
    figures: Vec<(String, f64)>,
}

fn held_out_loss(learner: &mut Learner, task: &dyn Task) -> Result<Option<EvalLoss>, TrainError> {
    let batch = task.held_out();
    if batch.units.is_empty() {
        return Ok(None);
    }
    let start = Instant::now();
    let evaluate = &mut |range, stats: &TokenStats| task.evaluate(batch, range, stats);
    let (loss, mut figures) = learner.evaluate(&batch.units, evaluate)?;
    figures.extend(task.summarize(loss, &figures));
    let (targets, seconds) = (batch.normalizer as u64, start.elapsed().as_secs_f64());
    Ok(Some(EvalLoss { loss, targets, seconds, figures: held_out_names(&figures) }))
}

/// Figures with the names of an evaluation: `eval/` instead of `train/`.
fn held_out_names(figures: &[(&'static str, f64)]) -> Vec<(String, f64)> {
    let name = |name: &str| format!("eval/{}", name.strip_prefix("train/").unwrap_or(name));
    figures.iter().map(|&(of_step, value)| (name(of_step), value)).collect()
}

/// Saves the state of the run in `folder`, keeps only the newest `keep` states, and returns the new file.
pub(crate) fn save(
    learner: &Learner,
    folder: &Path,
    keep: usize,
    meta: StateMeta,
    logs: &mut Logs,
) -> Result<PathBuf, TrainError> {
    // Logs first: a run that resumes from this state finds every record up to it.
    logs.sync()?;
    let state = TrainState { meta, tensors: learner.state()? };
    let folder = states(folder);
    let path = state.save(&folder)?;
    TrainState::keep_last(&folder, keep)?;
    Ok(path)
}

/// Folder of the states of the run in `folder`.
pub(super) fn states(folder: &Path) -> PathBuf {
    folder.join(output::STATES)
}

/// All logs of a run.
pub(crate) struct Logs {
    logs: [Box<dyn MetricsLog>; 2],
}

impl Logs {
    /// Opens the logs of a run after `step` steps. Records of later steps are cut off.
    pub fn open(folder: &Path, step: u64) -> Result<Logs, TrainError> {
        let path = folder.join(METRICS_FILE);
        if step > 0 {
            let jsonl = JsonlLog::resume(&path, step)?;
            return Ok(Logs { logs: [Box::new(jsonl), Box::new(TensorBoardLog::resume(folder, step)?)] });
        }
        // A run that ended before its first saved state left records of steps that are now repeated.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TrainError::io("remove", &path)(error));
            }
            _ => {}
        }
        Ok(Logs { logs: [Box::new(JsonlLog::create(&path)?), Box::new(TensorBoardLog::create(folder)?)] })
    }

    /// Appends a record to each log.
    pub fn write(&mut self, metrics: &dyn Metrics) -> Result<(), TrainError> {
        self.logs.iter_mut().try_for_each(|log| log.write(metrics))
    }

    fn sync(&mut self) -> Result<(), TrainError> {
        self.logs.iter_mut().try_for_each(|log| log.sync())
    }
}
