//! How a command ends when it does not succeed.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::gpu::DeviceError;
use crate::hub::HubError;

/// Why a command stopped, by what the process tells its caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The model's name led nowhere.
    #[error(transparent)]
    Hub(#[from] HubError),

    /// There is no such device, or it failed.
    #[error(transparent)]
    Device(#[from] DeviceError),

    /// The arguments make no sense together; exit code 2.
    #[error("{0}")]
    Usage(String),

    /// Standard output or a file could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl CliError {
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
            _ => 1,
        })
    }
}
