//! Settings from TOML.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::PpoConfig;
use super::run::{parse_settings, settings_text};
use crate::train::TrainError;

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
        PpoConfig::parse(&settings_text(path)?, path)
    }

    /// Parses the text of a settings file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] as [`PpoConfig::read`].
    pub fn parse(text: &str, path: &Path) -> Result<PpoConfig, TrainError> {
        let said: PpoConfig = parse_settings(text, path)?;
        parse_over(&PpoConfig::preset(said.preset), text, path)
    }
}

/// Parses the text of a settings file, in which whatever it leaves out is as in `preset`; `path` is for
/// messages.
pub(crate) fn parse_over<T: Serialize + DeserializeOwned>(
    preset: &T,
    text: &str,
    path: &Path,
) -> Result<T, TrainError> {
    // Every mistake is found here, where it has a place in the file. What the file leaves out is not yet
    // right: a table that is there in part is completed by the defaults of its own type, not by the preset.
    let _: T = parse_settings(text, path)?;
    let mut settings = Table::try_from(preset).expect("settings are plain values");
    lay_over(&mut settings, parse_settings(text, path)?);
    Ok(settings.try_into().expect("each table of the file was accepted by itself"))
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
