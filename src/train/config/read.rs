//! Settings from TOML.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{PpoConfig, SftConfig};
use crate::train::TrainError;

/// Bytes a settings file may have; the samples with all their comments have five thousand.
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
        SftConfig::parse(&text_of(path)?, path)
    }

    /// Parses the text of a settings file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] as [`SftConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<SftConfig, TrainError> {
        parse(text, path)
    }
}

impl PpoConfig {
    /// The settings as a settings file, without comments.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// Reads a settings file. What it leaves out is as in its preset; values are not judged yet
    /// ([`PpoConfig::validate`]), since the command line may still change them.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Io`] if it cannot be read.
    /// * [`TrainError::Config`] with line and column of whatever is not TOML, no setting, or no value of it.
    pub fn read(path: &Path) -> Result<PpoConfig, TrainError> {
        PpoConfig::parse(&text_of(path)?, path)
    }

    /// Parses the text of a settings file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] as [`PpoConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<PpoConfig, TrainError> {
        // Every mistake is found here, where it has a place in the file. What the file leaves out is not yet
        // right: a table that is there in part would be completed by the defaults of its own type, not by
        // those of these settings.
        let said: PpoConfig = parse(text, path)?;
        let mut settings =
            Table::try_from(PpoConfig::preset(said.preset)).expect("settings are plain values");
        lay_over(&mut settings, parse(text, path)?);
        Ok(settings.try_into().expect("each table of the file was accepted by itself"))
    }
}

/// Sets in `settings` whatever `said` says.
fn lay_over(settings: &mut Table, said: Table) {
    for (key, value) in said {
        match (settings.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(said)) => lay_over(inner, said),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}

fn text_of(path: &Path) -> Result<String, TrainError> {
    let length = std::fs::metadata(path).map_err(TrainError::io("read", path))?.len();
    if length > MAX_BYTES {
        let reason = format!("it has {length} bytes, more than any settings file");
        return Err(TrainError::Config { path: path.to_owned(), line: 1, column: 1, reason });
    }
    std::fs::read_to_string(path).map_err(TrainError::io("read", path))
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, TrainError> {
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
