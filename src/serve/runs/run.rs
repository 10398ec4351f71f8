//! One run: its status, and what clients can do with it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::events::{self, Events};
use super::work::Work;
use crate::guarded::guarded;
use crate::serve::openai::errors::ApiError;
use crate::serve::time::rfc3339;
use crate::train::{Control, Event};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    Running,
    Paused,
    Finished,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 6] = [
        Status::Queued,
        Status::Running,
        Status::Paused,
        Status::Finished,
        Status::Failed,
        Status::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Finished => "finished",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether nothing happens any more.
    pub fn is_final(self) -> bool {
        matches!(self, Status::Finished | Status::Failed | Status::Cancelled)
    }
}

/// A training run. Its name is also its id, and the name of its adapter.
pub(super) struct Run {
    pub kind: &'static str,
    pub name: String,
    pub folder: PathBuf,
    pub control: Control,
    pub events: Events,
    now: Mutex<Now>,
}

/// What changes while it runs.
struct Now {
    status: Status,
    step: u64,
    steps: Option<u64>,
    started: SystemTime,
    begun: Option<Instant>,
    /// Once it has ended.
    seconds: Option<f64>,
    error: Option<String>,
    adapter: Option<String>,
}

impl Run {
    pub fn new(kind: &'static str, name: String, folder: PathBuf) -> Run {
        let now = Now {
            status: Status::Queued,
            step: 0,
            steps: None,
            started: SystemTime::now(),
            begun: None,
            seconds: None,
            error: None,
            adapter: None,
        };
        let run = Run {
            kind,
            name,
            folder,
            control: Control::default(),
            events: Events::new(),
            now: Mutex::new(now),
        };
        run.events.add("status", run.json());
        run
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn id(&self) -> &str {
        &self.name
    }

    pub fn status(&self) -> Status {
        self.now().status
    }

    pub fn json(&self) -> Value {
        let now = self.now();
        let seconds = now.seconds.or_else(|| Some(now.begun?.elapsed().as_secs_f64()));
        json!({
            "id": self.name,
            "kind": self.kind,
            "name": self.name,
            "status": now.status.name(),
            "step": now.step,
            "steps": now.steps,
            "started": rfc3339(now.started),
            "seconds": (seconds.unwrap_or(0.0) * 1000.0).round() / 1000.0,
            "folder": self.folder.display().to_string(),
            "error": now.error,
            "adapter": now.adapter,
        })
    }

    /// Changes the status, unless the run has ended. Returns whether it was changed.
    fn change_to(&self, status: Status, change: impl FnOnce(&mut Now)) -> bool {
        {
            let mut now = self.now();
            if now.status.is_final() {
                return false;
            }
            now.status = status;
            if status.is_final() {
                now.seconds = Some(now.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64()));
            }
            change(&mut now);
        }
        tracing::info!(id = self.name, status = status.name(), "a run changed its status");
        self.events.add("status", self.json());
        true
    }

    pub fn pause(&self) -> Result<(), ApiError> {
        match self.status() {
            Status::Running => {
                self.control.pause();
                self.change_to(Status::Paused, |_| {});
                Ok(())
            }
            Status::Paused => Ok(()),
            other => Err(wrong_status("paused", other)),
        }
    }

    pub fn resume(&self) -> Result<(), ApiError> {
        match self.status() {
            Status::Paused => {
                self.change_to(Status::Running, |_| {});
                self.control.resume();
                Ok(())
            }
            Status::Running => Ok(()),
            other => Err(wrong_status("resumed", other)),
        }
    }

    /// Cancels the run. If it has begun, it ends after the present step, with a saved state.
    pub fn cancel(&self) {
        self.control.cancel.cancel();
        if self.status() == Status::Queued {
            self.change_to(Status::Cancelled, |_| {});
        }
    }

    /// Does the work, on the thread of the queue.
    pub fn execute(&self, work: Work) {
        let begin = |now: &mut Now| (now.begun, now.started) = (Some(Instant::now()), SystemTime::now());
        // A run that was cancelled while it waited stays cancelled.
        if !self.change_to(Status::Running, begin) {
            return;
        }
        let mut on_event = |event: Event<'_>| self.on_event(event);
        let result = guarded(|| work.run(self, &mut on_event));
        match result {
            Ok(Ok(done)) => {
                let (adapter, note) = (done.adapter, done.note);
                self.change_to(Status::Finished, |now| (now.adapter, now.error) = (adapter, note));
            }
            Ok(Err(error)) if error.is_cancelled() => {
                self.change_to(Status::Cancelled, |_| {});
            }
            Ok(Err(error)) => {
                let message = ApiError::from(error).message;
                self.change_to(Status::Failed, |now| now.error = Some(message));
            }
            Err(panic) => {
                let message = format!("a bug in Parr: {panic}");
                self.change_to(Status::Failed, |now| now.error = Some(message));
            }
        }
    }

    fn on_event(&self, event: Event<'_>) {
        match event {
            Event::Planned(plan) => self.now().steps = plan.steps,
            Event::Resumed { step } => self.now().step = step,
            Event::Scheduled { steps, .. } => self.now().steps = Some(steps),
            Event::Rollout { step, samples } => {
                for sample in events::samples(step, samples) {
                    self.events.add("sample", sample);
                }
            }
            Event::Step(step) => {
                let steps = {
                    let mut now = self.now();
                    now.step = step.number();
                    now.steps
                };
                self.events.add("step", events::step(&step, steps));
            }
            Event::Reopened { reason } => {
                tracing::warn!(
                    id = self.name,
                    reason,
                    "the GPU was lost; the run resumes from its last state"
                );
            }
            Event::Unclear { principles } => {
                self.events.add(
                    "note",
                    json!({
                        "message": format!("the reward model hardly reads: {}", principles.join("; ")),
                    }),
                );
            }
            _ => {}
        }
    }
}

fn wrong_status(what: &str, status: Status) -> ApiError {
    let message = format!("the run cannot be {what}: it is {}", status.name());
    ApiError::conflict(message, "wrong_status")
}
