//! Errors of commands, and their exit codes.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{interrupt, terminal};

/// The reason why a command failed; it determines the exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// An error of the library.
    #[error(transparent)]
    Library(parr::Error),

    /// The arguments are wrong or contradict each other; exit code 2.
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

    /// Standard output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),

    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: io::Error },

    /// A check did not pass; the message names it.
    #[error("{0}")]
    Check(String),

    /// A server does not start.
    #[error(transparent)]
    Serve(parr::serve::ServeError),

    /// Ctrl-C, SIGTERM or SIGHUP stopped the command, after it saved what it could.
    #[error("interrupted")]
    Interrupted,
}

impl From<parr::Error> for CliError {
    fn from(error: parr::Error) -> CliError {
        if error.is_cancelled() { CliError::Interrupted } else { CliError::Library(error) }
    }
}

macro_rules! from_the_library {
    ($($error:ty)*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> CliError {
                parr::Error::from(error).into()
            }
        }
    )*};
}

from_the_library! {
    parr::adapter::AdapterFileError
    parr::align::AlignError
    parr::attributes::AttributesError
    parr::chat::ChatError
    parr::convert::ConvertError
    parr::format::LoadError
    parr::generate::GenerateError
    parr::gpu::DeviceError
    parr::hub::HubError
    parr::judge::JudgeError
    parr::model::lora::AdapterError
    parr::preferences::PreferencesError
    parr::principles::PrinciplesError
    parr::reward::RewardError
    parr::salmon::PipelineError
    parr::self_align::SelfAlignError
    parr::settings::SettingsError
    parr::steer::SteerError
    parr::tokenizer::TextError
    parr::train::TrainError
}

impl CliError {
    /// A closure for `map_err`: the error of writing a file.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> CliError {
        let path = path.to_owned();
        move |source| CliError::File { path, source }
    }

    /// Returns the error for a mistake in a line of an input file.
    pub(super) fn line(path: &str, line: usize, reason: impl ToString) -> CliError {
        let path = if path == "-" { "standard input" } else { path };
        CliError::Line { path: path.to_owned(), line, reason: reason.to_string() }
    }

    /// Prints `error: ...` and its causes, one per line, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        // `parr ... | head` closes the pipe early, which is no failure.
        if matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        terminal::say(format_args!("error: {self}"));
        let mut cause = self.source();
        while let Some(error) = cause {
            terminal::say(format_args!("  caused by: {error}"));
            cause = error.source();
        }
        ExitCode::from(match self {
            CliError::Usage(_) => 2,
            CliError::Interrupted => interrupt::exit_code(),
            _ => 1,
        })
    }
}
