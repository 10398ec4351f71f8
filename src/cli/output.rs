//! Writes JSON Lines and pages.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::error::CliError;
use super::terminal;
use parr::output::{self, Mark};

/// Writes one line and flushes it, so that a reader at the other end of a pipe receives it at once.
///
/// # Errors
///
/// * [`CliError::Output`] if standard output is closed or full.
pub(super) fn write_row(value: &impl Serialize) -> Result<(), CliError> {
    let mut out = terminal::stdout();
    out.json(&serde_json::to_string(value).map_err(io::Error::from)?)?;
    out.flush()?;
    Ok(())
}

/// A file that a command writes at its end, beside its work. It is checked at the start: nothing that Parr did
/// not write is replaced.
pub(super) struct OutputFile<'a> {
    path: &'a Path,
    mark: Mark,
}

impl<'a> OutputFile<'a> {
    /// The file for a flag such as --html; none without the flag. `inputs` are the files that the command
    /// reads.
    ///
    /// # Errors
    ///
    /// [`CliError::File`] if something is at the path that must stay as it is.
    pub fn of(
        path: Option<&'a Path>,
        mark: Mark,
        inputs: &[&Path],
    ) -> Result<Option<OutputFile<'a>>, CliError> {
        let Some(path) = path else { return Ok(None) };
        output::check(path, mark, inputs).map_err(CliError::file(path))?;
        Ok(Some(OutputFile { path, mark }))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`CliError::File`] if it cannot be written.
    pub fn write(&self, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), CliError> {
        output::write(self.path, self.mark, &[], fill).map_err(CliError::file(self.path))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        self.path
    }
}
