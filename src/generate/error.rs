//! Errors of generation.

use crate::error::ErrorKind;
use crate::gpu::DeviceError;
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
        "a generator needs at least 1 slot and a context of 2 tokens, but it was given {slots} and {context}"
    )]
    NoRoom {
        /// Requested number of slots.
        slots: usize,
        /// Requested number of positions.
        context: usize,
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
            GenerateError::Cancelled => ErrorKind::Cancelled,
            GenerateError::Device(inner) => inner.kind(),
            GenerateError::Shape(_) => ErrorKind::Internal,
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
