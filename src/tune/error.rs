//! Errors of tuning.

use crate::error::ErrorKind;
use crate::gpu::DeviceError;
use crate::ops::ShapeError;

/// Why kernels could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// The caller cancelled.
    #[error("tuning was cancelled; nothing was stored")]
    Cancelled,
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A bug in Parr: operands that do not fit together.
    #[error("{0}")]
    Internal(String),
}

impl TuneError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TuneError::Cancelled => ErrorKind::Cancelled,
            TuneError::Device(inner) => inner.kind(),
            TuneError::Internal(_) => ErrorKind::Internal,
        }
    }
}

impl From<ShapeError> for TuneError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Device(device) => TuneError::Device(device),
            mismatch @ ShapeError::Mismatch { .. } => TuneError::Internal(mismatch.to_string()),
        }
    }
}
