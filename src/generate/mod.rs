//! Batched generation: slots, sampling, stopping.
//!
//! A [`Generator`] owns a KV cache with N slots and runs any number of [`Request`]s through it. The
//! cached part of a prompt is reused, and the rest is prefilled in packed batches. All sequences
//! decode together, each until its own end. The tokens of a sequence depend only on its seed, its
//! position and its logits, never on other sequences.
//!
//! A [`Scheduler`] lets many callers share a generator. Requests join and leave the running batch at any token.

mod batch;
mod check;
mod continuations;
mod distinct;
mod draws;
mod error;
mod fair_queue;
mod families;
mod fault;
mod generator;
mod heads;
mod logits;
mod memory;
mod next;
mod pace;
mod request;
mod running;
mod scheduler;
mod score;
mod sequence;
mod slots;
mod stop;

pub use continuations::Continuation;
pub use distinct::{DISTINCT_WINDOW, distinct};
pub use error::GenerateError;
pub use generator::{DEFAULT_CONTEXT, Generator, GeneratorOptions};
pub use logits::{Constraint, LogitOptions, TokenConstraint};
pub(crate) use memory::generator_bytes;
pub use pace::Pace;
pub use request::{CancelToken, Finish, MAX_TOKENS, Reply, Request, Sampling, StopTokens, TokenEvent};
pub use scheduler::{GeneratorSource, Job, JobEvent, OnJobEvent, Scheduler, SchedulerCounts, SchedulerError};
pub use stop::StopMatcher;

pub use crate::ops::{KvFormat, TokenStat};
