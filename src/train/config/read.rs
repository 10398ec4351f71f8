//! Settings from TOML.

use std::path::Path;

use super::SftConfig;
use crate::train::TrainError;

/// Bytes a settings file may have; the sample with all its comments has five thousand.
const MAX_BYTES: u64 = 1 << 20;

impl SftConfig {
    /// The settings as a settings file, without comments.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// Reads a settings file. What it leaves out keeps its default; values are not judged yet
    /// ([`SftConfig::validate`]), since the command line may still change them.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Io`] if it cannot be read.
    /// * [`TrainError::Config`] with line and column of whatever is not TOML, no setting, or no value of it.
    pub fn read(path: &Path) -> Result<SftConfig, TrainError> {
        let length = std::fs::metadata(path).map_err(TrainError::io("read", path))?.len();
        if length > MAX_BYTES {
            let reason = format!("it has {length} bytes, more than any settings file");
            return Err(TrainError::Config { path: path.to_owned(), line: 1, column: 1, reason });
        }
        let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
        SftConfig::parse(&text, path)
    }

    /// Parses the text of a settings file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] as [`SftConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<SftConfig, TrainError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(text);
            let (line, column) = match before.rsplit_once('\n') {
                Some((lines, last)) => (lines.matches('\n').count() + 2, last.chars().count() + 1),
                None => (1, before.chars().count() + 1),
            };
            let reason = error.message().replace('\n', ", ");
            TrainError::Config { path: path.to_owned(), line, column, reason }
        })
    }
}
