//! Interfaces that the app implements to receive events.

use std::sync::{Arc, Mutex};

use parr::generate::CancelToken as CallToken;

use crate::ParrError;
use crate::call::lock;
use crate::reply::Piece;

/// The error that a callback may throw. Any other exception is converted to this one, with its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// The app could not handle the event.
    #[error("{reason}")]
    Failed {
        /// The reason, as text.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        CallbackError::Failed { reason: error.reason }
    }
}

/// Receives a reply while it is generated, on the thread that generates it. Keep the work short, and move
/// longer work to another thread. Do not call the same session from the callback.
#[uniffi::export(foreign)]
pub trait TokenListener: Send + Sync {
    /// Called with the next part of the reply.
    ///
    /// # Errors
    ///
    /// [`CallbackError`] ends the reply, and the call fails with [`ParrError::Callback`].
    fn on_piece(&self, piece: Piece) -> Result<(), CallbackError>;
}

/// Receives the progress of a load or a download.
#[uniffi::export(foreign)]
pub trait ProgressListener: Send + Sync {
    /// Called with the number of bytes done, and the total if it is known.
    ///
    /// # Errors
    ///
    /// After a [`CallbackError`] it is not called again, and the call fails with [`ParrError::Callback`]
    /// when it ends.
    fn on_progress(&self, done_bytes: u64, total_bytes: Option<u64>) -> Result<(), CallbackError>;
}

/// Calls back until a callback fails. Keeps the failure, which ends the call.
#[derive(Clone, Default)]
pub(crate) struct Callbacks(Arc<Mutex<Option<CallbackError>>>);

impl Callbacks {
    /// Calls back if no callback has failed so far. A failure cancels `token`.
    pub fn call(&self, token: &CallToken, callback: impl FnOnce() -> Result<(), CallbackError>) {
        let mut failed = lock(&self.0);
        if failed.is_none()
            && let Err(error) = callback()
        {
            *failed = Some(error);
            token.cancel();
        }
    }

    /// The failure, if there was one.
    pub fn check(&self) -> Result<(), ParrError> {
        match lock(&self.0).take() {
            Some(error) => Err(ParrError::Callback(error.to_string())),
            None => Ok(()),
        }
    }
}
