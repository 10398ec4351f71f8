//! Errors of a chat.

use std::path::PathBuf;

use crate::adapter::AdapterFileError;
use crate::error::ErrorKind;
use crate::file::FileError;
use crate::generate::GenerateError;
use crate::model::lora::AdapterError;
use crate::principles::PrinciplesError;
use crate::steer::SteerError;
use crate::tokenizer::TextError;

/// Why there is no session or no reply, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The model cannot chat: use an instruction-tuned model.
    #[error("the model has no chat template, so it cannot chat; use an instruction-tuned model")]
    NoTemplate,

    /// The model's context is shorter: ask for a shorter context.
    #[error("a context of {asked} tokens was asked for, but the model has {most}; ask for a shorter one")]
    Context {
        /// Tokens asked for.
        asked: usize,
        /// The model's context, in tokens.
        most: usize,
    },

    /// There is no reply that could be generated again.
    #[error("there is no reply to replace")]
    NothingToReplace,

    /// The session's budget does not hold its cache: use a shorter context, or free something.
    #[error(
        "{what} need {} MiB in addition to the {} MiB in use; the budget is {} MiB",
        mib(*needed), mib(*used), mib(*budget)
    )]
    Budget {
        /// What needs the memory.
        what: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },

    /// The caller cancelled before a reply was chosen. The conversation is unchanged.
    #[error("cancelled before a reply was chosen")]
    Cancelled,

    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The file is not a saved conversation: name another file.
    #[error("{} is not a saved conversation: {reason}", path.display())]
    NotAConversation {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where there are some.
        reason: String,
    },

    /// The thread that generates could not be started, or ended by a bug in Parr.
    #[error("the thread that generates {reason}")]
    Thread {
        /// What happened to it.
        reason: String,
    },

    /// The GPU was lost, and the model could not be loaded again.
    #[error("the GPU was lost, and the model cannot be loaded again")]
    Reload {
        /// Why not.
        source: Box<crate::Error>,
    },

    /// Principles cannot be read, or there is no such set.
    #[error(transparent)]
    Principles(#[from] PrinciplesError),

    /// The adapter cannot be read, or belongs to another model.
    #[error(transparent)]
    AdapterFile(#[from] AdapterFileError),

    /// The adapter does not fit the model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// The reply could not be steered.
    #[error(transparent)]
    Steer(#[from] SteerError),

    /// The reply could not be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// The chat template refused the conversation.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl ChatError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ChatError::NoTemplate => ErrorKind::Mismatch,
            ChatError::Context { .. } | ChatError::NothingToReplace => ErrorKind::Argument,
            ChatError::Budget { .. } => ErrorKind::Memory,
            ChatError::Cancelled => ErrorKind::Cancelled,
            ChatError::Io(file) => file.kind(),
            ChatError::NotAConversation { .. } => ErrorKind::Format,
            ChatError::Thread { .. } => ErrorKind::Internal,
            ChatError::Reload { source } => source.kind(),
            ChatError::Principles(inner) => inner.kind(),
            ChatError::AdapterFile(inner) => inner.kind(),
            ChatError::Adapter(inner) => inner.kind(),
            ChatError::Steer(inner) => inner.kind(),
            ChatError::Generate(inner) => inner.kind(),
            ChatError::Text(inner) => inner.kind(),
        }
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
