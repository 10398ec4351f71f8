//! The training loop: there is one, whatever is learned.

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

/// The file of metrics in the folder of a run.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// What one step learns from, or what is measured at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Sequences, in groups that a loss compares.
    pub units: Vec<Unit>,
    /// What the summed losses are divided by: targets, or pairs, of the whole batch.
    pub normalizer: f64,
}

/// What a run learns: its batches and their loss.
pub trait Task {
    /// What the step after `step` others learns from. Called again with the same number, it gives the
    /// same batch: that is what a run resumes by.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if the data gives none.
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError>;

    /// Rows seen by `step` steps, as a part of all.
    fn epochs(&self, step: u64) -> f64;

    /// What the run is measured on; empty for nothing.
    fn held_out(&self) -> &Batch;

    /// The loss of the units `range` of `batch`, from what was read off their sequences.
    fn evaluate(&self, batch: &Batch, range: Range<usize>, stats: &TokenStats) -> Evaluated;

    /// Figures of a step that its parts do not add up to, from its loss and its added figures.
    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)>;

    /// The largest difference between generation's and training's log-probability of a token, where the
    /// task can measure it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the device fails.
    fn logprob_distance(&self, learner: &mut Learner) -> Result<Option<f64>, TrainError>;
}

/// How long a run is, and how often it is measured and saved.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Where logs and states go; it exists.
    pub folder: PathBuf,
    /// Optimizer steps in all.
    pub steps: u64,
    /// The rate of every step.
    pub schedule: Schedule,
    /// Steps from one measurement to the next; 0 for none but before the first and after the last step.
    pub evaluate_every: u64,
    /// Steps from one saved state to the next; 0 for none but the last.
    pub save_every: u64,
    /// States that are kept.
    pub keep: usize,
    /// What the run is made of: a state of another run is not resumed.
    pub meta: StateMeta,
}

/// Holds a run, from another thread or from a callback. Clones hold the same run.
#[derive(Clone, Default)]
pub struct Control {
    /// Ends the run after the step in work, with its state saved.
    pub cancel: CancelToken,
    paused: Arc<AtomicBool>,
    gate: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("cancel", &self.cancel)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// A run that `cancel` ends.
    pub fn new(cancel: &CancelToken) -> Self {
        Control { cancel: cancel.clone(), ..Control::default() }
    }

    /// The same with `gate` called before every step, on the run's thread, with the number of steps done. It
    /// returns when the next step may be taken, or cancels. An app can check battery and temperature there. States
    /// that were due are saved by then.
    ///
    /// Self-alignment and preferences have no steps while they sample. There the gate is called before each chunk
    /// of prompts, with the number of prompts or pairs done.
    #[must_use]
    pub fn with_gate(self, gate: impl Fn(u64) + Send + Sync + 'static) -> Control {
        Control { gate: Some(Arc::new(gate)), ..self }
    }

    /// Lets the run wait after the step in work, until [`Control::resume`] or a cancel.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Lets a paused run go on.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }

    /// Whether the run is to wait.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Returns when the step after `step` others may be taken, or was cancelled.
    pub(crate) fn wait(&self, step: u64) {
        while self.is_paused() && !self.cancel.is_cancelled() {
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
/// * [`TrainError::NotFinite`] if a loss or a gradient is NaN or infinite: the last saved state is as
///   it was;
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
        if control.cancel.is_cancelled() {
            if learner.steps() > saved {
                let meta = StateMeta { step: learner.steps(), ..meta };
                on_event(Event::Saved(&save(learner, &options.folder, options.keep, meta, &mut logs)?));
            }
            return Err(TrainError::Cancelled);
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

/// Figures under the names that they have where they are not of a step: `eval/`, not `train/`.
fn held_out_names(figures: &[(&'static str, f64)]) -> Vec<(String, f64)> {
    let name = |name: &str| format!("eval/{}", name.strip_prefix("train/").unwrap_or(name));
    figures.iter().map(|&(of_step, value)| (name(of_step), value)).collect()
}

/// Saves the state of the run in `folder`, of which the newest `keep` stay, and returns its file.
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

/// Where the states of the run in `folder` lie.
pub(super) fn states(folder: &Path) -> PathBuf {
    folder.join("checkpoints")
}

/// Every log of a run.
pub(crate) struct Logs {
    logs: [Box<dyn MetricsLog>; 2],
}

impl Logs {
    /// Logs of a run that stands after `step` steps; records of later steps are cut off.
    pub fn open(folder: &Path, step: u64) -> Result<Logs, TrainError> {
        let path = folder.join(METRICS_FILE);
        if step > 0 {
            let jsonl = JsonlLog::resume(&path, step)?;
            return Ok(Logs { logs: [Box::new(jsonl), Box::new(TensorBoardLog::resume(folder, step)?)] });
        }
        // A run that ended before its first state left records of steps that are taken again now.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TrainError::io("remove", &path)(error));
            }
            _ => {}
        }
        Ok(Logs { logs: [Box::new(JsonlLog::create(&path)?), Box::new(TensorBoardLog::create(folder)?)] })
    }

    /// Appends a record to each.
    pub fn write(&mut self, metrics: &dyn Metrics) -> Result<(), TrainError> {
        self.logs.iter_mut().try_for_each(|log| log.write(metrics))
    }

    fn sync(&mut self) -> Result<(), TrainError> {
        self.logs.iter_mut().try_for_each(|log| log.sync())
    }
}
