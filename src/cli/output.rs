//! Writes JSON Lines and pages.

use std::fs::{self, File};
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

/// The folder that holds `path`.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    /// [`CliError::File`] if something is at the path that must stay as it is, or the folder for it is missing.
    pub fn of(
        path: Option<&'a Path>,
        mark: Mark,
        inputs: &[&Path],
    ) -> Result<Option<OutputFile<'a>>, CliError> {
        let Some(path) = path else { return Ok(None) };
        output::check(path, mark, inputs).map_err(CliError::file(path))?;
        let folder = folder_of(path);
        if !folder.is_dir() {
            let reason = format!("there is no folder {}; create it first", folder.display());
            let missing = io::Error::new(io::ErrorKind::NotFound, reason);
            return Err(CliError::file(path)(missing));
        }
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

    /// Whether both would be written to one file, whatever its names.
    pub fn is_same(&self, other: &OutputFile<'_>) -> bool {
        // The file itself need not exist yet.
        let place = |path: &Path| {
            if let Ok(found) = fs::canonicalize(path) {
                return found;
            }
            let folder = fs::canonicalize(folder_of(path));
            folder.map_or(path.to_owned(), |folder| folder.join(path.file_name().unwrap_or_default()))
        };
        place(self.path) == place(other.path)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_many_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).expect("made");
        let (plain, around, other) = (at("x"), at("inner/../x"), at("inner/x"));
        let of = |path| OutputFile::of(Some(path), Mark::Page, &[]).expect("new").expect("a file");
        assert!(of(&plain).is_same(&of(&around)) && !of(&plain).is_same(&of(&other)));
        assert!(of(Path::new("x-is-new")).is_same(&of(Path::new("./x-is-new"))));
        let missing = at("missing/x");
        let missing = OutputFile::of(Some(&missing), Mark::Page, &[]);
        let error = missing.map(|_| ()).expect_err("no such folder");
        assert!(
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("create it"))
        );
    }
}
