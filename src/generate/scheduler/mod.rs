//! Continuous batching: requests of many callers in one generator, on a thread of its own.

mod worker;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use self::worker::Worker;
use super::error::GenerateError;
use super::generator::Generator;
use super::request::{CancelToken, Reply, Request, TokenEvent};
use crate::error::ErrorKind;
use crate::model::lora::AdapterId;
use crate::tokenizer::TokenId;

/// Where a scheduler gets its generator.
pub trait GeneratorSource: Send + 'static {
    /// Makes a generator. It is called once at the start, and again each time the GPU was lost. It must load a lost
    /// model again first ([`Model::reload`](crate::model::Model::reload)).
    ///
    /// # Errors
    ///
    /// [`GenerateError`] if the device cannot hold it.
    fn open(&mut self) -> Result<Generator, GenerateError>;

    /// The id in the present generator of the adapter that callers know as `name`.
    fn adapter(&self, name: &str) -> Option<AdapterId>;
}

/// A request of one caller.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The request. Its adapter is set from [`Job::adapter`].
    pub request: Request,
    /// Name of the adapter; `None` for the base model.
    pub adapter: Option<String>,
    /// The caller's name. Clients that wait take turns, so that none with many requests holds up the others.
    pub client: String,
    /// When the reply ends, complete or not.
    pub deadline: Option<Instant>,
    /// Ends the reply.
    pub cancel: CancelToken,
}

/// What happens to a job. The last event is `Done` or `Failed`.
#[derive(Clone, Debug)]
pub enum JobEvent {
    /// A token was drawn.
    Token {
        /// The token.
        token: TokenId,
        /// Its log-probability under the plain softmax, in nats.
        logprob: f32,
        /// The most probable tokens in its place: see [`LogitOptions::top_logprobs`](super::LogitOptions).
        top: Vec<(TokenId, f32)>,
        /// Text that is complete so far, as in [`TokenEvent`].
        text: String,
    },
    /// The reply is complete, or was cancelled.
    Done(Reply),
    /// The reply cannot be completed.
    Failed(GenerateError),
}

/// Why a scheduler takes no jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// The queue is full.
    #[error("{waiting} requests are waiting, and no more than {most} may; try again later")]
    Busy {
        /// Number of requests that wait for a slot.
        waiting: usize,
        /// Maximum number of such requests.
        most: usize,
    },
    /// The scheduler has stopped.
    #[error("the scheduler has stopped, so it takes no more requests")]
    Stopped,
}

impl SchedulerError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SchedulerError::Busy { .. } => ErrorKind::Memory,
            SchedulerError::Stopped => ErrorKind::Cancelled,
        }
    }
}

/// Counts of a scheduler since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SchedulerCounts {
    /// Requests that wait for a slot now.
    pub waiting: usize,
    /// Requests in a slot now.
    pub running: usize,
    /// Number of slots.
    pub slots: usize,
    /// Requests that have ended.
    pub ended: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// How many of these were in the cache.
    pub reused_tokens: u64,
    /// Tokens that were drawn.
    pub reply_tokens: u64,
    /// How often the GPU was lost.
    pub losses: u64,
    /// Seconds of computing.
    pub busy_seconds: f64,
}

/// Receives the events of the jobs of one call: the index of the job, and the event. It must return soon, because all
/// replies wait for it.
pub type OnJobEvent = Box<dyn FnMut(usize, JobEvent) + Send>;

/// Runs the requests of many callers through one generator.
///
/// Requests join and leave the running batch at any token. A reply depends only on its request: other requests in the
/// batch do not change it. Clones use the same generator. It stops after the last clone is dropped, or after
/// [`Scheduler::drain`].
///
/// ```no_run
/// use parr::generate::{Generator, GeneratorOptions, GenerateError, GeneratorSource, Job, Request, Scheduler};
/// use parr::model::lora::AdapterId;
///
/// struct Base(parr::Model);
///
/// impl GeneratorSource for Base {
///     fn open(&mut self) -> Result<Generator, GenerateError> {
///         Generator::new(&self.0, GeneratorOptions { slots: 4, context: 512, ..GeneratorOptions::default() })
///     }
///     fn adapter(&self, _: &str) -> Option<AdapterId> {
///         None
///     }
/// }
///
/// let scheduler = Scheduler::start(Base(parr::Model::open("smollm2")?), 64)?;
/// let job = Job { request: Request { prompt: vec![1, 2, 3], ..Request::default() }, ..Job::default() };
/// scheduler.submit(vec![job], Box::new(|_, event| println!("{event:?}")))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` after a drain.
    commands: Mutex<Option<Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Number of jobs that wait for a slot, also those on their way to the thread.
    waiting: AtomicUsize,
    most_waiting: usize,
    context: usize,
    counts: Mutex<SchedulerCounts>,
}

/// Jobs on their way to the thread, with their common receiver.
struct Command(Vec<Entry>);

/// A job that waits.
struct Entry {
    index: usize,
    job: Job,
    on_event: Arc<Mutex<OnJobEvent>>,
    /// Tokens that were reported before the GPU was lost.
    told: Vec<TokenId>,
}

impl Entry {
    fn tell(&self, event: JobEvent) {
        let mut on_event = self.on_event.lock().unwrap_or_else(PoisonError::into_inner);
        on_event(self.index, event);
    }
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// Opens a generator and starts the thread. At most `most_waiting` requests wait for a slot.
    ///
    /// # Errors
    ///
    /// As [`GeneratorSource::open`].
    pub fn start(mut source: impl GeneratorSource, most_waiting: usize) -> Result<Scheduler, GenerateError> {
        let generator = source.open()?;
        let (commands, inbox) = channel();
        let counts = SchedulerCounts { slots: generator.slots(), ..SchedulerCounts::default() };
        let shared = Arc::new(Shared {
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(None),
            waiting: AtomicUsize::new(0),
            most_waiting,
            context: generator.context(),
            counts: Mutex::new(counts),
        });
        let weak = Arc::downgrade(&shared);
        let work = move || {
            Worker::new(Box::new(source), generator, inbox, counts).run(&|counts, admitted| {
                if let Some(shared) = weak.upgrade() {
                    let waiting = shared.waiting.fetch_sub(admitted, Ordering::Relaxed) - admitted;
                    *shared.counts.lock().unwrap_or_else(PoisonError::into_inner) =
                        SchedulerCounts { waiting, ..counts };
                }
            });
        };
        let thread = thread::Builder::new()
            .name("parr-scheduler".to_owned())
            .spawn(work)
            .map_err(|error| GenerateError::Thread { reason: error.to_string() })?;
        *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Scheduler { shared })
    }

    /// Hands over `jobs`, all or none. `on_event` receives the events of all of them, on the scheduler's thread.
    ///
    /// # Errors
    ///
    /// * [`SchedulerError::Busy`] if more jobs would wait than may;
    /// * [`SchedulerError::Stopped`] after a drain.
    pub fn submit(&self, jobs: Vec<Job>, on_event: OnJobEvent) -> Result<(), SchedulerError> {
        let shared = &self.shared;
        let (n, most) = (jobs.len(), shared.most_waiting);
        let commands = shared.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = commands.as_ref().ok_or(SchedulerError::Stopped)?;
        // Senders hold the lock, so the number can only fall meanwhile.
        let waiting = shared.waiting.load(Ordering::Relaxed);
        if waiting + n > most {
            return Err(SchedulerError::Busy { waiting, most });
        }
        shared.waiting.fetch_add(n, Ordering::Relaxed);
        let on_event = Arc::new(Mutex::new(on_event));
        let entries = jobs
            .into_iter()
            .enumerate()
            .map(|(index, job)| Entry { index, job, on_event: Arc::clone(&on_event), told: Vec::new() })
            .collect();
        sender.send(Command(entries)).map_err(|_| SchedulerError::Stopped)
    }

    /// Runs `jobs` and waits for their replies, in order. `on_token` receives every token as it is drawn.
    ///
    /// # Errors
    ///
    /// The error of the first job that failed; [`GenerateError::Scheduler`] as [`Scheduler::submit`].
    pub fn generate(
        &self,
        jobs: Vec<Job>,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError> {
        let mut replies: Vec<Option<Reply>> = vec![None; jobs.len()];
        let cancels: Vec<CancelToken> = jobs.iter().map(|job| job.cancel.clone()).collect();
        let (sender, events) = channel();
        // The receiver is gone only after an error.
        self.submit(jobs, Box::new(move |index, event| drop(sender.send((index, event)))))?;
        let mut failed = None;
        for (index, event) in events {
            match event {
                JobEvent::Token { token, logprob, top, text } => {
                    on_token(TokenEvent { request: index, token, logprob, top, text });
                }
                JobEvent::Done(reply) => replies[index] = Some(reply),
                JobEvent::Failed(error) => {
                    failed.get_or_insert(error);
                    // Nobody needs the others.
                    cancels.iter().for_each(CancelToken::cancel);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => replies.into_iter().map(|reply| reply.ok_or(SchedulerError::Stopped.into())).collect(),
        }
    }

    /// Counts since the start.
    pub fn counts(&self) -> SchedulerCounts {
        let counts = *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        SchedulerCounts { waiting: self.shared.waiting.load(Ordering::Relaxed), ..counts }
    }

    /// Maximum number of tokens of a prompt and its reply together.
    pub fn context(&self) -> usize {
        self.shared.context
    }

    /// Takes no more jobs, waits until all have ended, and frees the generator.
    pub fn drain(&self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        drop(self.commands.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic was printed by the thread, and its jobs have ended.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody waits for the rest.
        drop(self.commands.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
