//! How a command ends when it does not succeed.

use std::error::Error;
use std::io;
use std::process::ExitCode;

/// The exit code of a process that ctrl-C ended, by the shell's custom: 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command stopped, by what the process tells its caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The library refused or failed.
    #[error(transparent)]
    Library(crate::Error),

    /// The arguments make no sense together; exit code 2.
    #[error("{0}")]
    Usage(String),

    /// The model lacks what the command needs.
    #[error("{0}")]
    Model(String),

    /// An input file could not be read.
    #[error("cannot read {path}")]
    Input { path: String, source: io::Error },

    /// A line of an input file is wrong.
    #[error("{path} line {line}: {reason}")]
    Line { path: String, line: usize, reason: String },

    /// Standard output or a file could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),

    /// A check did not pass; its report says which.
    #[error("{0}")]
    Check(String),

    /// Ctrl-C, after the command put its things in order.
    #[error("interrupted")]
    Interrupted,
}

impl<E: Into<crate::Error>> From<E> for CliError {
    fn from(error: E) -> CliError {
        let error = error.into();
        if error.is_cancelled() { CliError::Interrupted } else { CliError::Library(error) }
    }
}

impl CliError {
    /// A mistake in a line of an input file.
    pub(super) fn line(path: &str, line: usize, reason: impl ToString) -> CliError {
        let path = if path == "-" { "standard input" } else { path };
        CliError::Line { path: path.to_owned(), line, reason: reason.to_string() }
    }

    /// Prints `error: ...` and its causes, one a line, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        // `parr ... | head` has had enough: that is no failure.
        if matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            eprintln!("  caused by: {error}");
            cause = error.source();
        }
        ExitCode::from(match self {
            CliError::Usage(_) => 2,
            CliError::Interrupted => INTERRUPTED,
            _ => 1,
        })
    }
}
