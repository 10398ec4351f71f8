//! One run: its status, and what clients can do with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::events::{self, Events};
use super::log::{Header, Recorded, RunLog};
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

/// The kinds of runs.
pub(super) const KINDS: [&str; 3] = ["align", "sft", "reward"];

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

    /// The status that an event names.
    pub fn of(event: &Value) -> Option<Status> {
        Status::ALL.into_iter().find(|status| event["status"] == status.name())
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
    /// The request that started it.
    pub request: Map<String, Value>,
    pub events: Events,
    log: RunLog,
    now: Mutex<Now>,
}

/// What changes while it runs.
struct Now {
    control: Control,
    /// Whether the work continues from the newest saved state.
    resumes: bool,
    status: Status,
    step: u64,
    steps: Option<u64>,
    /// As RFC 3339 writes it.
    started: String,
    begun: Option<Instant>,
    /// Seconds before this process began the work, and those in all once it has ended.
    seconds: f64,
    error: Option<String>,
    adapter: Option<String>,
}

impl Run {
    /// A run that waits, with its file in `folder`.
    ///
    /// # Errors
    ///
    /// Those of [`RunLog::create`].
    pub fn new(
        kind: &'static str,
        name: String,
        folder: &Path,
        request: Map<String, Value>,
    ) -> io::Result<Run> {
        let header = Header { parr_run: 1, kind: kind.to_owned(), name, request };
        let log = RunLog::create(folder, &header)?;
        let now = Now {
            control: Control::default(),
            resumes: false,
            status: Status::Queued,
            step: 0,
            steps: None,
            started: rfc3339(SystemTime::now()),
            begun: None,
            seconds: 0.0,
            error: None,
            adapter: None,
        };
        let run = Run::of(kind, header, folder, log, Vec::new(), now);
        run.add("status", run.json());
        Ok(run)
    }

    /// A run of an earlier server. One that had not ended counts as cancelled. `None` if the kind is not known.
    pub fn earlier(recorded: Recorded, folder: &Path) -> Option<Run> {
        let Recorded { header, events, log } = recorded;
        let kind = KINDS.into_iter().find(|kind| *kind == header.kind)?;
        let last = events.iter().rev().find(|(name, _)| *name == "status").map(|(_, value)| value.clone());
        let last = last.unwrap_or_default();
        let text = |name: &str| last[name].as_str().map(str::to_owned);
        let status = Status::of(&last).unwrap_or(Status::Queued);
        // A run that was interrupted has taken more steps than its last status has.
        let step = events
            .iter()
            .rev()
            .find(|(name, _)| *name == "step")
            .map_or(&last["step"], |(_, step)| &step["step"]);
        let now = Now {
            control: Control::default(),
            resumes: false,
            status,
            step: step.as_u64().unwrap_or(0),
            steps: last["steps"].as_u64(),
            started: text("started").unwrap_or_default(),
            begun: None,
            seconds: last["seconds"].as_f64().unwrap_or(0.0),
            error: text("error"),
            adapter: None,
        };
        let run = Run::of(kind, header, folder, log, events, now);
        let error = "the server ended before the run did; resume it to continue from its last saved state";
        run.change_to(Status::Cancelled, |now| now.error = Some(error.to_owned()));
        Some(run)
    }

    fn of(
        kind: &'static str,
        header: Header,
        folder: &Path,
        log: RunLog,
        events: Vec<(&'static str, Value)>,
        now: Now,
    ) -> Run {
        let folder = folder.join(&header.name);
        let Header { name, request, .. } = header;
        Run { kind, name, folder, request, events: Events::new(events), log, now: Mutex::new(now) }
    }

    /// Adds an event, also to the file.
    fn add(&self, name: &'static str, value: Value) {
        self.log.append(name, &value);
        self.events.add(name, value);
    }

    /// Lets another server have this run, if it has ended.
    pub fn release(&self) {
        if self.status().is_final() {
            self.log.close();
        }
    }

    /// Removes the file of a run that never began.
    pub fn forget(&self) {
        self.log.remove();
    }

    /// When it was started, as RFC 3339 writes it.
    pub fn started(&self) -> String {
        self.now().started.clone()
    }

    /// What pauses and cancels the work.
    pub fn control(&self) -> Control {
        self.now().control.clone()
    }

    /// Whether the work continues from the newest saved state.
    pub fn resumes(&self) -> bool {
        self.now().resumes
    }

    /// Notes that the adapter of this run is loaded under its name.
    pub fn set_adapter(&self, name: &str) {
        self.now().adapter = Some(name.to_owned());
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
        let seconds = now.seconds();
        json!({
            "id": self.name,
            "kind": self.kind,
            "name": self.name,
            "status": now.status.name(),
            "step": now.step,
            "steps": now.steps,
            "started": now.started,
            "seconds": (seconds * 1000.0).round() / 1000.0,
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
                now.seconds = now.seconds();
                now.begun = None;
            }
            change(&mut now);
        }
        tracing::info!(id = self.name, status = status.name(), "a run changed its status");
        self.add("status", self.json());
        true
    }

    /// Puts a run that was cancelled or has failed back into the queue.
    pub fn requeue(&self) -> Result<(), ApiError> {
        {
            let mut now = self.now();
            if !matches!(now.status, Status::Cancelled | Status::Failed) {
                return Err(wrong_status("resumed", now.status));
            }
            now.status = Status::Queued;
            (now.control, now.resumes, now.error) = (Control::default(), true, None);
        }
        tracing::info!(id = self.name, "a run was queued again");
        self.events.reopen();
        self.add("status", self.json());
        Ok(())
    }

    pub fn pause(&self) -> Result<(), ApiError> {
        match self.status() {
            Status::Running => {
                self.control().pause();
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
                self.control().resume();
                Ok(())
            }
            Status::Running => Ok(()),
            other => Err(wrong_status("resumed", other)),
        }
    }

    /// Cancels the run. If it has begun, it ends after the present step, with a saved state.
    pub fn cancel(&self) {
        self.control().cancel.cancel();
        if self.status() == Status::Queued {
            self.change_to(Status::Cancelled, |_| {});
        }
    }

    /// Does the work, on the thread of the queue.
    pub fn execute(&self, work: Work) {
        let begin = |now: &mut Now| {
            now.begun = Some(Instant::now());
            if !now.resumes {
                now.started = rfc3339(SystemTime::now());
            }
        };
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
                    self.add("sample", sample);
                }
            }
            Event::Step(step) => {
                let steps = {
                    let mut now = self.now();
                    now.step = step.number();
                    now.steps
                };
                self.add("step", events::step(&step, steps));
            }
            Event::Reopened { reason } => {
                tracing::warn!(
                    id = self.name,
                    reason,
                    "the GPU was lost; the run resumes from its last state"
                );
            }
            Event::Unclear { principles } => {
                self.add(
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

impl Now {
    /// Seconds of work so far.
    fn seconds(&self) -> f64 {
        self.seconds + self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }
}

fn wrong_status(what: &str, status: Status) -> ApiError {
    let message = format!("the run cannot be {what}: it is {}", status.name());
    ApiError::conflict(message, "wrong_status")
}
