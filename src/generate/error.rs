//! Errors of generation.

use std::fmt;

use super::generator::{MAX_POSITIONS, MAX_SLOTS};
use super::scheduler::SchedulerError;
use crate::error::ErrorKind;
use crate::gpu::DeviceError;
use crate::model::Part;
use crate::model::lora::AdapterError;
use crate::ops::ShapeError;

/// A request that cannot be served, or a device that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt leaves no room for a token: shorten it, or make the context longer.
    #[error(
        "request {request}: the prompt needs a context of {needed} tokens, but it has {capacity}; \
         shorten the prompt or raise the context"
    )]
    ContextOverflow {
        /// Index of the request.
        request: usize,
        /// Positions that the prompt and one more token need.
        needed: usize,
        /// Positions of a slot.
        capacity: usize,
    },
    /// The prompt is empty: a model needs a token to start from.
    #[error("request {request}: the prompt is empty; give at least one token")]
    EmptyPrompt {
        /// Index of the request.
        request: usize,
    },
    /// A token id outside the vocabulary.
    #[error("request {request}: token id {id} at place {place} is outside the vocabulary of {vocab}")]
    UnknownToken {
        /// Index of the request.
        request: usize,
        /// Index in the prompt, from 0.
        place: usize,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A sampling setting outside its range.
    #[error("request {request}: {setting} is {value}, expected {expected}")]
    Setting {
        /// Index of the request.
        request: usize,
        /// Name of the setting.
        setting: &'static str,
        /// The given value.
        value: f32,
        /// What is allowed.
        expected: &'static str,
    },
    /// An adapter that is not in the generator's bank.
    #[error("request {request}: {source}")]
    Adapter {
        /// Index of the request.
        request: usize,
        /// What is wrong with the adapter.
        source: AdapterError,
    },
    /// A generator without slots or without positions.
    #[error(
        "a generator has 1 to {MAX_SLOTS} slots with a context of at least 2 tokens, and at most {MAX_POSITIONS} \
         tokens in all, but it was given {slots} slots and a context of {context}"
    )]
    NoRoom {
        /// Requested number of slots.
        slots: usize,
        /// Requested number of positions.
        context: usize,
    },
    /// The model computed NaN or infinite values: it, or its adapter, is damaged or does not fit.
    #[error(
        "request {request}: NaN or infinite values appear {}; {}",
        Place(*part, *token),
        Cause(*part, tensor.as_deref())
    )]
    NotFinite {
        /// Index of the request.
        request: usize,
        /// The first part of the forward pass in which they appear; `None` if a second pass over the same
        /// tokens gave finite values.
        part: Option<Part>,
        /// Index of the first token of prompt and reply for which they appear.
        token: usize,
        /// The tensor of the model's file that holds such a value, if there is one.
        tensor: Option<String>,
    },
    /// Keys or values exceed the range of an f16 cache: use an f32 cache.
    #[error(
        "request {request}: the {} of layer {layer} reach {largest}, beyond the range of f16 (65504); \
         use an f32 key/value cache (`--kv f32`)",
        if *keys { "keys" } else { "values" }
    )]
    CacheRange {
        /// Index of the request.
        request: usize,
        /// The layer, from 0.
        layer: usize,
        /// Whether they are keys; values otherwise.
        keys: bool,
        /// Largest magnitude among them.
        largest: f32,
    },
    /// A constraint on the tokens allows none.
    #[error("request {request}: after {tokens} tokens, the constraint on the reply fails: {reason}")]
    Constraint {
        /// Index of the request.
        request: usize,
        /// Number of tokens of the reply so far.
        tokens: usize,
        /// The constraint's reason.
        reason: String,
    },
    /// An adapter that the scheduler does not know.
    #[error("no adapter is called {name:?}")]
    NoAdapter {
        /// The name.
        name: String,
    },
    /// The GPU was lost, and drew other tokens when the reply was started again.
    #[error(
        "the GPU was lost during the reply, and its beginning came out differently afterwards; ask again"
    )]
    Replayed,
    /// The scheduler takes no jobs.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// A thread could not be started.
    #[error("a thread could not be started: {reason}")]
    Thread {
        /// The system's reason.
        reason: String,
    },
    /// The caller cancelled; only calls without a partial result return this.
    #[error("cancelled")]
    Cancelled,
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Buffers of the forward pass disagree: a bug in Parr.
    #[error(transparent)]
    Shape(ShapeError),
}

impl GenerateError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            GenerateError::ContextOverflow { .. } => ErrorKind::Context,
            GenerateError::EmptyPrompt { .. }
            | GenerateError::UnknownToken { .. }
            | GenerateError::Setting { .. }
            | GenerateError::NoRoom { .. } => ErrorKind::Argument,
            GenerateError::Adapter { source, .. } => source.kind(),
            GenerateError::CacheRange { .. } => ErrorKind::Argument,
            GenerateError::NotFinite { tensor: Some(_), .. } => ErrorKind::Format,
            GenerateError::NotFinite { part: None, .. } => ErrorKind::Internal,
            GenerateError::NotFinite { .. } => ErrorKind::Diverged,
            GenerateError::NoAdapter { .. } | GenerateError::Constraint { .. } => ErrorKind::Argument,
            GenerateError::Replayed => ErrorKind::DeviceLost,
            GenerateError::Scheduler(error) => error.kind(),
            GenerateError::Thread { .. } => ErrorKind::Internal,
            GenerateError::Cancelled => ErrorKind::Cancelled,
            GenerateError::Device(inner) => inner.kind(),
            GenerateError::Shape(_) => ErrorKind::Internal,
        }
    }
}

struct Place(Option<Part>, usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(part) => write!(f, "first in {part}, at token {}", self.1),
            None => write!(f, "in the result, but not when the same tokens are computed again"),
        }
    }
}

struct Cause<'a>(Option<Part>, Option<&'a str>);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (_, Some(tensor)) => write!(f, "{tensor}: get another copy of the model"),
            (Some(_), None) => {
                f.write_str("the model or its adapter is damaged, or they do not fit together")
            }
            (None, None) => f.write_str("run `parr doctor`: the GPU or its driver may be at fault"),
        }
    }
}

impl From<ShapeError> for GenerateError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Device(device) => GenerateError::Device(device),
            other => GenerateError::Shape(other),
        }
    }
}
