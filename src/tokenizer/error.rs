//! Errors between text and token ids.

use std::sync::Arc;

use crate::error::ErrorKind;
use crate::file::FileError;

/// Why text could not become token ids, or a conversation a prompt.
///
/// Variants are grouped by what the caller can do next; template errors name the template's line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The file could not be read: check its path and permissions.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The tokenizer breaks its format's own rules: the file is damaged, fetch it again.
    #[error("{origin} is malformed: {rule}")]
    Malformed {
        /// The file, or the metadata key with its index.
        origin: String,
        /// The rule that was broken, with the numbers that broke it.
        rule: String,
    },

    /// The tokenizer is of a kind that is not implemented: use a model with a known kind.
    #[error("{what} `{name}` is not supported; known are: {known}")]
    Unsupported {
        /// The kind of thing that the name is for, such as "pre-tokenizer".
        what: &'static str,
        /// The name that was found.
        name: String,
        /// The names that are known, separated by commas.
        known: String,
    },

    /// The model has a tokenizer or a chat template that cannot be used: do without it, or use another model.
    #[error(transparent)]
    Unusable(Arc<TextError>),

    /// A text could not be encoded.
    #[error("cannot encode the text: {reason}")]
    Encode {
        /// The encoder's message.
        reason: String,
    },

    /// The chat template does not compile: the model's files are at fault.
    #[error("chat template line {line} does not compile: {reason}")]
    TemplateSyntax {
        /// The line of the template, counted from 1.
        line: usize,
        /// The parser's message.
        reason: String,
    },

    /// The template refused the conversation with `raise_exception`: change the messages.
    #[error("chat template line {line} refuses the conversation: {message}")]
    TemplateRefused {
        /// The line of the template, counted from 1.
        line: usize,
        /// The template's own message.
        message: String,
    },

    /// The template cannot use a value of the conversation.
    #[error("chat template line {line} failed: {reason}")]
    TemplateRender {
        /// The line of the template, counted from 1.
        line: usize,
        /// What went wrong there.
        reason: String,
    },

    /// The template did more work than any real one needs, so it was stopped.
    #[error(
        "chat template line {line} used up its {fuel} steps; the template loops without end, makes values \
         without end, or the conversation is too long for it"
    )]
    TemplateFuel {
        /// The line of the template where the steps ran out, counted from 1.
        line: usize,
        /// The number of steps that were allowed.
        fuel: u64,
    },

    /// The calendar has no such day: give one that it has, in a year of four digits.
    #[error(
        "{year}-{month:02}-{day:02} is no date; give a day that the calendar has, in a year from 1000 to 9999"
    )]
    Date {
        /// Year.
        year: u16,
        /// Month, from 1.
        month: u8,
        /// Day of the month, from 1.
        day: u8,
    },

    /// The template wrote more text than any honest one does, so it was stopped.
    #[error(
        "chat template wrote more than {limit_bytes} bytes; use a template that does not repeat its messages"
    )]
    TemplateTooLong {
        /// The number of bytes that were allowed.
        limit_bytes: usize,
    },
}

impl TextError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TextError::Io(file) => file.kind(),
            TextError::Unusable(reason) => reason.kind(),
            TextError::Encode { .. } | TextError::TemplateRefused { .. } | TextError::Date { .. } => {
                ErrorKind::Argument
            }
            _ => ErrorKind::Format,
        }
    }
}
