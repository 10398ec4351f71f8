//! Writes JSON Lines and pages.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::error::CliError;
use super::terminal;
use parr::atomic;

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

/// Writes an HTML page, whole or not at all.
///
/// # Errors
///
/// * [`CliError::Output`] if the file cannot be written.
pub(super) fn write_page(path: &Path, html: &str) -> Result<(), CliError> {
    Ok(atomic::write(path, |file| file.write_all(html.as_bytes()))?)
}
