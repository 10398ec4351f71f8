//! Requests on their way through the scheduler, as async code sees them.

use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::adapters::AdapterUse;
use super::openai::errors::ApiError;
use super::state::Served;
use crate::generate::{CancelToken, GenerateError, Job, JobEvent, Reply, Request};
use crate::model::lora::AdapterError;

/// Jobs that were submitted together. Dropping it cancels those that still run.
pub(super) struct Tickets {
    events: UnboundedReceiver<(usize, JobEvent)>,
    cancels: Vec<CancelToken>,
    left: usize,
    submitted: Instant,
    first: bool,
    served: std::sync::Arc<Served>,
}

/// The client, and what it uses.
#[derive(Clone)]
pub(super) struct Caller {
    /// Clients that wait take turns.
    pub client: String,
    /// Keeps the adapter while it is in use.
    pub adapter: Option<AdapterUse>,
    /// When replies end, complete or not.
    pub deadline: Option<Instant>,
}

impl Tickets {
    /// Hands `requests` to the scheduler of `served`, all or none.
    pub fn submit(
        served: &std::sync::Arc<Served>,
        caller: &Caller,
        requests: Vec<Request>,
    ) -> Result<Tickets, ApiError> {
        let left = requests.len();
        let (sender, events) = unbounded_channel();
        let mut cancels = Vec::with_capacity(left);
        let mut jobs = Vec::with_capacity(left);
        for request in requests {
            let cancel = CancelToken::new();
            cancels.push(cancel.clone());
            jobs.push(Job {
                request,
                adapter: caller.adapter.as_ref().map(|adapter| adapter.name().to_owned()),
                client: caller.client.clone(),
                deadline: caller.deadline,
                cancel,
            });
        }
        // The scheduler drops the closure after the last job, and with it the claim on the adapter. It never waits
        // here: the channel has no bound, and a job has no more events than tokens.
        let claim = caller.adapter.clone();
        let on_event = move |index, event| {
            let _held = &claim;
            let _ = sender.send((index, event));
        };
        served.scheduler.submit(jobs, Box::new(on_event))?;
        Ok(Tickets {
            events,
            cancels,
            left,
            submitted: Instant::now(),
            first: true,
            served: std::sync::Arc::clone(served),
        })
    }

    /// The next event of any job, with its index; `None` after the last.
    pub async fn next(&mut self) -> Option<(usize, JobEvent)> {
        if self.left == 0 {
            return None;
        }
        let (index, event) = match self.events.recv().await {
            Some(event) => event,
            // The scheduler's thread has ended with a panic.
            None => {
                self.left = 0;
                return Some((0, JobEvent::Failed(crate::generate::SchedulerError::Stopped.into())));
            }
        };
        let metrics = &self.served.metrics;
        match &event {
            JobEvent::Token { .. } => {
                if std::mem::take(&mut self.first) {
                    metrics.first_token.observe(self.submitted.elapsed());
                }
            }
            JobEvent::Done(reply) => {
                self.left -= 1;
                metrics.replies.observe(self.submitted.elapsed());
                tracing::debug!(
                    index,
                    tokens = reply.tokens.len(),
                    finish = reply.finish.name(),
                    "a reply is complete"
                );
            }
            JobEvent::Failed(error) => {
                self.left -= 1;
                tracing::warn!(%error, "a reply failed");
            }
        }
        Some((index, event))
    }

    /// Waits for all replies, in order.
    pub async fn all(mut self) -> Result<Vec<Reply>, ApiError> {
        let mut replies: Vec<Option<Reply>> = vec![None; self.cancels.len()];
        while let Some((index, event)) = self.next().await {
            match event {
                JobEvent::Token { .. } => {}
                JobEvent::Done(reply) => replies[index] = Some(reply),
                // Dropping the tickets cancels the others.
                JobEvent::Failed(error) => return Err(error.into()),
            }
        }
        let lost = || ApiError::internal("a reply was lost");
        replies.into_iter().map(|reply| reply.ok_or_else(lost)).collect()
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        self.cancels.iter().for_each(CancelToken::cancel);
    }
}

/// Cancels when it is dropped, unless the work is done.
pub(super) struct CancelOnDrop(pub CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// `Ok` if `request` can run in a context of this many tokens: what the scheduler would find out later, when the
/// reply has begun.
pub(super) fn check(served: &Served, request: &Request) -> Result<(), ApiError> {
    let vocab = served.model.config().vocab;
    let (needed, capacity) = (request.prompt.len() + 1, served.scheduler.context());
    if request.prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt { request: 0 }.into());
    }
    if needed > capacity {
        return Err(GenerateError::ContextOverflow { request: 0, needed, capacity }.into());
    }
    if let Some(place) = request.prompt.iter().position(|&id| id as usize >= vocab) {
        let id = request.prompt[place];
        return Err(GenerateError::UnknownToken { request: 0, place, id, vocab }.into());
    }
    Ok(request.sampling.check(0)?)
}

/// The error for an adapter that cannot be used.
pub(super) fn adapter_fault(error: AdapterError) -> ApiError {
    let answer = ApiError::from(error);
    if answer.status.is_server_error() {
        return answer;
    }
    ApiError { status: StatusCode::UNPROCESSABLE_ENTITY, ..answer }
}
