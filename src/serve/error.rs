//! Why a server does not start.

use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;

/// Why a server does not start, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be bound: choose another port, or end the program that uses it.
    #[error("cannot listen on {host}:{port}")]
    Bind {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },

    /// An adapter cannot be loaded: leave it out, or correct its path.
    #[error("the adapter {name} in {} cannot be loaded: {reason}", path.display())]
    Adapter {
        /// Its name.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The model cannot be served.
    #[error(transparent)]
    Library(#[from] crate::Error),

    /// A thread could not be started.
    #[error("the server's threads could not be started: {reason}")]
    Thread {
        /// The system's reason.
        reason: String,
    },
}

impl ServeError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ServeError::Bind { .. } => ErrorKind::Argument,
            ServeError::Adapter { .. } => ErrorKind::Mismatch,
            ServeError::Library(error) => error.kind(),
            ServeError::Thread { .. } => ErrorKind::Internal,
        }
    }
}
