//! What the app implements to hear of things while they happen.

use std::sync::{Arc, Mutex};

use parr::generate::CancelToken as CallToken;

use crate::ParrError;
use crate::call::lock;
use crate::reply::Piece;

/// What a callback may throw. Whatever else it throws becomes this one, with the exception's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// The app could not take what it was told.
    #[error("{reason}")]
    Failed {
        /// Why, in words.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        CallbackError::Failed { reason: error.reason }
    }
}

/// Hears a reply while it is made, on the thread that makes it: whoever does more than note the text hands
/// it on. It must not ask the same session for anything.
#[uniffi::export(foreign)]
pub trait TokenListener: Send + Sync {
    /// More of the reply.
    ///
    /// # Errors
    ///
    /// [`CallbackError`] ends the reply, and the call fails with [`ParrError::Callback`].
    fn on_piece(&self, piece: Piece) -> Result<(), CallbackError>;
}

/// Hears how far a load or a download is.
#[uniffi::export(foreign)]
pub trait ProgressListener: Send + Sync {
    /// So many bytes are done, of so many where that is known.
    ///
    /// # Errors
    ///
    /// [`CallbackError`]: it is not called again, and the call fails with [`ParrError::Callback`] when it is
    /// through.
    fn on_progress(&self, done_bytes: u64, total_bytes: Option<u64>) -> Result<(), CallbackError>;
}

/// Calls back until that fails once, which is kept and ends the call.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Option<CallbackError>>>);

impl Told {
    /// Tells, if all went well so far; a failure cancels `token`.
    pub fn tell(&self, token: &CallToken, tell: impl FnOnce() -> Result<(), CallbackError>) {
        let mut failed = lock(&self.0);
        if failed.is_none()
            && let Err(error) = tell()
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
