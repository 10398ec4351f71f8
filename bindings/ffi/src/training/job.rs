//! The training thread, and the handle that the app holds.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parr::train::Control;

use super::TrainingOptions;
use super::events::{
    StepDecision, TrainingEvent, TrainingListener, TrainingOutcome, TrainingPolicy, TrainingState,
    TrainingStatus,
};
use super::settings::{Place, Work};
use super::workers::TrainingWorkers;
use crate::ParrError;
use crate::call::{guarded, lock};
use crate::callback::Callbacks;
use crate::model::Model;

/// A training run in the background. It ends after its last step, after [`TrainingJob::cancel`], or when
/// the app releases the job. In every case its state is saved first.
#[derive(Debug, uniffi::Object)]
pub struct TrainingJob {
    control: Control,
    state: Arc<Mutex<JobState>>,
}

#[derive(Debug)]
struct JobState {
    status: TrainingStatus,
    result: Option<Result<TrainingOutcome, ParrError>>,
    waiting: Vec<Waker>,
}

#[uniffi::export]
impl Model {
    /// Starts a run. [`TrainingJob::wait`] reports errors in its settings or data. `workers` compute the heavy parts of
    /// an alignment run.
    ///
    /// # Errors
    ///
    /// [`ParrError::Internal`] if the system cannot start a thread.
    #[uniffi::method(default(listener = None, policy = None, workers = None))]
    pub fn train(
        self: Arc<Self>,
        options: TrainingOptions,
        listener: Option<Arc<dyn TrainingListener>>,
        policy: Option<Arc<dyn TrainingPolicy>>,
        workers: Option<Arc<dyn TrainingWorkers>>,
    ) -> Result<Arc<TrainingJob>, ParrError> {
        let status = TrainingStatus { state: TrainingState::Preparing, step: 0, steps: 0, loss: None };
        let state = Arc::new(Mutex::new(JobState { status, result: None, waiting: Vec::new() }));
        let callbacks = Callbacks::default();
        let mut control = Control::default();
        if let Some(policy) = policy {
            control = gated(control, policy, callbacks.clone(), Arc::clone(&state));
        }
        let state_of_run = Arc::clone(&state);
        let run =
            Run { model: self, control: control.clone(), listener, workers, callbacks, state: state_of_run };
        let spawned = thread::Builder::new().name("parr-training".to_owned()).spawn(move || {
            let state = Arc::clone(&run.state);
            let result = guarded(|| run.run(&options));
            let mut state = lock(&state);
            state.status.state = match &result {
                Ok(TrainingOutcome::Done { .. }) => TrainingState::Done,
                Ok(TrainingOutcome::Cancelled) => TrainingState::Cancelled,
                Err(_) => TrainingState::Failed,
            };
            state.result = Some(result);
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        });
        match spawned {
            Ok(_) => Ok(Arc::new(TrainingJob { control, state })),
            Err(error) => Err(ParrError::Internal(format!("no thread for the run: {error}"))),
        }
    }
}

#[uniffi::export]
impl TrainingJob {
    /// Pauses the run after the current step.
    pub fn pause(&self) {
        self.control.pause();
    }

    /// Resumes a paused run.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Ends the run after the current step and saves its state.
    pub fn cancel(&self) {
        self.control.cancel.cancel();
    }

    /// Returns the status of the run.
    pub fn status(&self) -> TrainingStatus {
        let mut status = lock(&self.state).status.clone();
        if status.state == TrainingState::Running && self.control.is_paused() {
            status.state = TrainingState::Paused;
        }
        status
    }

    /// Waits for the end of the run. Several callers may wait, and a caller that stops waiting does not stop
    /// the run.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`], [`ParrError::Data`], [`ParrError::Argument`] before anything is written, if
    ///   files, rows or settings cannot be used;
    /// * [`ParrError::Run`] if the folder contains a run and `resume` is off, or a different run;
    /// * [`ParrError::Memory`] if no plan fits the budget;
    /// * [`ParrError::Diverged`] if the loss is infinite or not a number, or the trained policy collapsed;
    /// * [`ParrError::Callback`] if the listener or the [`TrainingPolicy`] threw an error;
    /// * [`ParrError::DeviceLost`] if the GPU was lost: start another run with `resume` to continue.
    pub async fn wait(&self) -> Result<TrainingOutcome, ParrError> {
        poll_fn(|context| {
            let mut state = lock(&self.state);
            match &state.result {
                Some(result) => Poll::Ready(result.clone()),
                None => {
                    state.waiting.retain(|known| !known.will_wake(context.waker()));
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for TrainingJob {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The inputs of the training thread.
struct Run {
    model: Arc<Model>,
    control: Control,
    listener: Option<Arc<dyn TrainingListener>>,
    workers: Option<Arc<dyn TrainingWorkers>>,
    callbacks: Callbacks,
    state: Arc<Mutex<JobState>>,
}

impl Run {
    fn run(&self, options: &TrainingOptions) -> Result<TrainingOutcome, ParrError> {
        if let Some(start) = &options.start {
            start.belongs_to(&self.model)?;
        }
        let loaded = self.model.loaded()?;
        let work = Work::read(options, &loaded, self.model.training_mib(&loaded))?;
        let out = PathBuf::from(&options.out);
        let start = options.start.as_ref().map(|start| start.adapter());
        let place = Place { out: &out, resume: options.resume, workers: self.workers.clone() };
        let done = work.run(&loaded.model, start, place, &self.control, &mut |event| {
            if let Some(event) = TrainingEvent::of(event) {
                self.hear(event);
            }
        });
        let done = match done {
            Ok(adapter) => TrainingOutcome::Done { adapter: adapter.to_string_lossy().into_owned() },
            Err(ParrError::Cancelled(_)) => TrainingOutcome::Cancelled,
            Err(error) => return Err(error),
        };
        // A callback that failed cancels the run.
        self.callbacks.check()?;
        Ok(done)
    }

    /// Records the status of the run, then notifies the app.
    fn hear(&self, event: TrainingEvent) {
        {
            let status = &mut lock(&self.state).status;
            match &event {
                TrainingEvent::Started { steps, .. } => {
                    (status.state, status.steps) = (TrainingState::Running, *steps);
                }
                TrainingEvent::Resumed { step } => status.step = *step,
                TrainingEvent::Step { report } => {
                    (status.step, status.loss) = (report.step, report.loss);
                }
                _ => {}
            }
        }
        if let Some(listener) = &self.listener {
            self.callbacks.call(&self.control.cancel, || listener.on_event(event));
        }
    }
}

/// `control` that asks the app's policy before every step.
fn gated(
    control: Control,
    policy: Arc<dyn TrainingPolicy>,
    callbacks: Callbacks,
    state: Arc<Mutex<JobState>>,
) -> Control {
    let cancel = control.cancel.clone();
    control.with_gate(move |step| {
        while !cancel.is_cancelled() {
            let mut decision = StepDecision::Stop;
            callbacks.call(&cancel, || {
                decision = policy.may_step(step)?;
                Ok(())
            });
            match decision {
                StepDecision::Go => break,
                StepDecision::Stop => cancel.cancel(),
                StepDecision::Wait { seconds } => {
                    lock(&state).status.state = TrainingState::Waiting;
                    let until = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 3600.0));
                    while Instant::now() < until && !cancel.is_cancelled() {
                        thread::sleep(Duration::from_millis(20).min(until - Instant::now()));
                    }
                }
            }
        }
        lock(&state).status.state = TrainingState::Running;
    })
}
