//! Training runs over HTTP: one at a time, on a thread of its own, beside the served model.

mod events;
mod log;
mod run;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::{Json, Name, Stream, json_response, ok, streamed};
use super::openai::errors::ApiError;
use super::state::{Served, Shared, blocking};
use crate::adapter::RUN_FOLDER;
use log::RunLog;
use run::{Run, Status};
use work::Work;

/// How often a stream of events shows that it is alive, and looks whether the client is.
const SHOWS_LIFE_EVERY: Duration = Duration::from_secs(15);
/// How often a drain looks whether the last run has ended.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// The most runs of earlier servers that are listed, the newest first.
const MOST_EARLIER: usize = 500;

/// The runs of this server and of earlier ones with the same folder.
pub(super) struct Runs {
    folder: PathBuf,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    all: Vec<Arc<Run>>,
    waiting: VecDeque<(Arc<Run>, Work)>,
    /// Whether a thread works on the queue.
    working: bool,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runs {
    /// The runs whose files are in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Runs {
        let mut all: Vec<Arc<Run>> = Vec::new();
        for path in log::all_in(&folder) {
            match RunLog::read(&path) {
                Ok(recorded) => all.extend(Run::earlier(recorded, &folder).map(Arc::new)),
                // Another server has it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => tracing::warn!("{}: {error}; the run is not listed", path.display()),
            }
        }
        all.sort_by_cached_key(|run| run.started());
        all.drain(..all.len().saturating_sub(MOST_EARLIER));
        Runs { folder, queue: Arc::new(Mutex::new(Queue { all, ..Queue::default() })) }
    }

    /// Adds a run to the queue.
    fn add(
        &self,
        kind: &'static str,
        name: Option<String>,
        request: Map<String, Value>,
        work: Work,
    ) -> Result<Arc<Run>, ApiError> {
        let mut queue = lock(&self.queue);
        let taken = |name: &str, queue: &Queue| {
            queue.all.iter().any(|run| run.name == name)
                || self.folder.join(name).exists()
                || log::path_of(&self.folder, name).exists()
        };
        let name = match name {
            Some(name) if taken(&name, &queue) => {
                let message = format!("there is already a run or a folder `{name}`");
                return Err(ApiError::conflict(message, "name_taken").param("name"));
            }
            Some(name) => name,
            None => {
                let names = (1..).map(|number: usize| format!("{kind}-{number}"));
                names.into_iter().find(|name| !taken(name, &queue)).unwrap_or_default()
            }
        };
        let run = Run::new(kind, name, &self.folder, request).map_err(|error| {
            let folder = self.folder.display();
            ApiError::internal(format!("the file of the run cannot be written in {folder}: {error}"))
        })?;
        let run = Arc::new(run);
        if let Err(error) = self.enqueue(&mut queue, &run, work) {
            run.forget();
            return Err(error);
        }
        queue.all.push(Arc::clone(&run));
        Ok(run)
    }

    /// Puts a run that was cancelled or has failed back into the queue.
    fn resume(&self, run: &Arc<Run>, work: Work) -> Result<(), ApiError> {
        let mut queue = lock(&self.queue);
        run.requeue()?;
        self.enqueue(&mut queue, run, work)
    }

    fn enqueue(&self, queue: &mut Queue, run: &Arc<Run>, work: Work) -> Result<(), ApiError> {
        queue.waiting.push_back((Arc::clone(run), work));
        if !queue.working {
            let shared = Arc::clone(&self.queue);
            let thread =
                thread::Builder::new().name("parr-run".to_owned()).spawn(move || work_through(&shared));
            if let Err(error) = thread {
                queue.waiting.pop_back();
                run.cancel();
                return Err(ApiError::internal(format!("a thread could not be started: {error}")));
            }
            queue.working = true;
        }
        Ok(())
    }

    /// Loads what runs of earlier servers have made: the reward models, and the newest adapters. One place stays free for
    /// the next run.
    pub fn load_earlier(&self, served: &Served) {
        for run in self.all().iter().rev().filter(|run| run.status() == Status::Finished) {
            if run.kind == "reward" {
                if run.folder.is_dir() {
                    served.rewards.add(&run.folder);
                }
            } else if run.folder.join(RUN_FOLDER).is_dir() && served.adapters.places() > 1 {
                match served.adapters.load(&run.name, &run.folder) {
                    Ok(_) => run.set_adapter(&run.name),
                    Err(error) => {
                        tracing::warn!(
                            "the adapter of the run `{}` was not loaded: {}",
                            run.name,
                            error.message
                        );
                    }
                }
            }
        }
    }

    fn find(&self, id: &str) -> Result<Arc<Run>, ApiError> {
        let queue = lock(&self.queue);
        let found = queue.all.iter().find(|run| run.id() == id).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("there is no run `{id}`")))
    }

    fn all(&self) -> Vec<Arc<Run>> {
        lock(&self.queue).all.clone()
    }

    /// Number of runs by status.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<&'static str, usize> = Status::ALL.map(|status| (status.name(), 0)).into();
        for run in self.all() {
            *counts.entry(run.status().name()).or_default() += 1;
        }
        counts
    }

    /// Cancels all runs. Those that run save their state first.
    pub fn cancel_all(&self) {
        self.all().iter().for_each(|run| run.cancel());
    }

    /// Waits until no run works any more, up to `most`. Other servers can have those that have ended.
    pub fn join(&self, most: Duration) {
        let begun = Instant::now();
        while lock(&self.queue).working && begun.elapsed() < most {
            thread::sleep(LOOKS_EVERY);
        }
        self.all().iter().for_each(|run| run.release());
    }
}

/// Works through the queue, and ends when it is empty.
fn work_through(queue: &Mutex<Queue>) {
    loop {
        let (run, work) = {
            let mut queue = lock(queue);
            match queue.waiting.pop_front() {
                Some(next) => next,
                None => {
                    queue.working = false;
                    return;
                }
            }
        };
        run.execute(work);
    }
}

/// `POST /v1/runs`
pub(super) async fn start(State(state): Shared, Json(mut fields): Json) -> Result<Response, ApiError> {
    let shared = Arc::clone(&state);
    let run = blocking(move || -> Result<Arc<Run>, ApiError> {
        let name: Option<String> = fields.take("name")?;
        if let Some(name) = &name {
            work::check_name(name)?;
        }
        let mut request = fields.into_rest();
        let (kind, work) = Work::read(&shared, &mut request)?;
        let run = shared.runs.add(kind, name, request, work)?;
        Ok(run)
    })
    .await??;
    tracing::info!(id = run.id(), "a run was queued");
    Ok(json_response(StatusCode::CREATED, &run.json()))
}

/// `GET /v1/runs`
pub(super) async fn list(State(state): Shared) -> Response {
    let data: Vec<Value> = state.runs.all().iter().map(|run| run.json()).collect();
    ok(&json!({ "data": data }))
}

/// `GET /v1/runs/{id}`
pub(super) async fn one(State(state): Shared, Name(id): Name) -> Result<Response, ApiError> {
    Ok(ok(&state.runs.find(&id)?.json()))
}

/// `POST /v1/runs/{id}/pause`
pub(super) async fn pause(State(state): Shared, Name(id): Name) -> Result<Response, ApiError> {
    let run = state.runs.find(&id)?;
    run.pause()?;
    Ok(ok(&run.json()))
}

/// `POST /v1/runs/{id}/resume`
pub(super) async fn resume(State(state): Shared, Name(id): Name) -> Result<Response, ApiError> {
    let run = state.runs.find(&id)?;
    if !run.status().is_final() {
        run.resume()?;
        return Ok(ok(&run.json()));
    }
    let shared = Arc::clone(&state);
    let run = blocking(move || -> Result<Arc<Run>, ApiError> {
        let (_, work) = Work::read(&shared, &mut run.request.clone())?;
        shared.runs.resume(&run, work)?;
        Ok(run)
    })
    .await??;
    Ok(ok(&run.json()))
}

/// `POST /v1/runs/{id}/cancel`
pub(super) async fn cancel(State(state): Shared, Name(id): Name) -> Result<Response, ApiError> {
    let run = state.runs.find(&id)?;
    if run.status().is_final() {
        let message = format!("the run has already ended: {}", run.status().name());
        return Err(ApiError::conflict(message, "run_ended"));
    }
    run.cancel();
    Ok(ok(&run.json()))
}

/// `GET /v1/runs/{id}/metrics`
pub(super) async fn metrics(State(state): Shared, Name(id): Name) -> Result<Response, ApiError> {
    let run = state.runs.find(&id)?;
    Ok(ok(&json!({ "data": run.events.named("step") })))
}

/// `GET /v1/runs/{id}/events`
pub(super) async fn events(
    State(state): Shared,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let run = state.runs.find(&id)?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let mut next: usize = last.and_then(|id| id.trim().parse().ok()).unwrap_or(0);
    Ok(streamed(Stream::Events, move |writer| async move {
        let mut changes = run.events.changes();
        loop {
            // Before the events are read, so that none is missed.
            let ended = run.status().is_final();
            changes.mark_unchanged();
            for (id, name, value) in run.events.after(next) {
                writer.event(name, Some(id), &value).await?;
                next = id;
            }
            if ended {
                return Ok(());
            }
            match tokio::time::timeout(SHOWS_LIFE_EVERY, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => writer.comment().await?,
            }
        }
    }))
}
