//! Settings files: one TOML file per run, read, checked, written and hashed the same way everywhere.
//!
//! | part | holds |
//! |---|---|
//! | [`Settings`] | what every settings type can do: parse, validate, hash, write |
//! | [`Faults`], [`SettingsError`] | values outside their range, all reported at once; a file that does not parse |
//! | [`Auto`], [`Share`] | values that can be written in two ways |

mod error;
mod knob;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use error::{Faults, SettingsError};
pub(crate) use error::{MOST_ITEMS, MOST_SEED, MOST_SEQUENCES, MOST_TOKENS, positive};
pub use knob::{Auto, Share};

use crate::file::{AtFile, NotUtf8, sha256, text};

/// Maximum number of bytes of a settings file. The samples with all their comments have five thousand.
const MAX_BYTES: u64 = 1 << 20;

/// The settings of a run or of a stage: a plain struct with one TOML file.
///
/// ```
/// use parr::settings::Settings;
/// use parr::train::SftConfig;
///
/// let config = SftConfig::parse("epochs = 2.0\n[lora]\nrank = 8\n", "run.toml".as_ref())?;
/// assert_eq!((config.epochs, config.lora.rank), (2.0, 8));
/// config.validate()?;
/// # Ok::<(), parr::settings::SettingsError>(())
/// ```
pub trait Settings: Clone + Default + Serialize + DeserializeOwned {
    /// A settings file that sets each value to its default, with comments.
    const SAMPLE: &'static str;

    /// The values of settings that a file leaves out. `self` is the file as parsed, which names its preset.
    #[must_use]
    fn preset_of(&self) -> Self {
        Self::default()
    }

    /// Adds every setting that is outside its range, or contradicts another, to `faults`.
    fn check(&self, faults: &mut Faults);

    /// A copy in which settings that do not change the result have their default.
    #[must_use]
    fn without_side_settings(&self) -> Self {
        self.clone()
    }

    /// `Ok` if every setting is within its range.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Faults`] with all faults.
    fn validate(&self) -> Result<(), SettingsError> {
        let mut faults = Faults::default();
        self.check(&mut faults);
        faults.finish()
    }

    /// SHA-256 in hexadecimal of all settings that the result depends on. A run can be resumed under settings
    /// with the same hash.
    fn hash(&self) -> String {
        settings_hash(&self.without_side_settings())
    }

    /// The settings as a settings file, without comments.
    fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// Reads a settings file. A setting that the file leaves out keeps the value of its preset. Ranges are
    /// not checked yet ([`Settings::validate`]), since the command line may still change values.
    ///
    /// # Errors
    ///
    /// * [`SettingsError::Io`] if it cannot be read.
    /// * [`SettingsError::Syntax`] with line and column of text that is not TOML, an unknown setting, or a
    ///   value of the wrong type.
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let length = std::fs::metadata(path).map_err(SettingsError::io("read", path))?.len();
        if length > MAX_BYTES {
            let reason = format!("it has {length} bytes, a settings file may have {MAX_BYTES}");
            return Err(SettingsError::Syntax { path: path.to_owned(), line: 1, column: 1, reason });
        }
        let bytes = std::fs::read(path).map_err(SettingsError::io("read", path))?;
        let text = text(&bytes).map_err(|NotUtf8 { line, byte }| {
            let reason = "this byte is not UTF-8; save the file as UTF-8".to_owned();
            SettingsError::Syntax { path: path.to_owned(), line, column: byte, reason }
        })?;
        Self::parse(text, path)
    }

    /// Parses the text of a settings file. `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Syntax`] as [`Settings::read`].
    fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        // Parsing finds every mistake with its position in the file. It fills an incomplete table with the
        // defaults of the table's type, not with the preset. So the values of the file are set on the preset
        // next.
        let text = text.trim_start_matches('\u{FEFF}');
        let parsed: Self = parse_toml(text, path)?;
        let mut settings = Table::try_from(parsed.preset_of()).expect("settings are plain values");
        lay_over(&mut settings, parse_toml(text, path)?);
        Ok(settings.try_into().expect("each table of the file was accepted"))
    }
}

/// SHA-256 in hexadecimal of `settings` as JSON.
pub(crate) fn settings_hash(settings: &impl Serialize) -> String {
    sha256(serde_json::to_string(settings).expect("settings are plain values"))
}

fn parse_toml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, SettingsError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let (line, column) = match before.rsplit_once('\n') {
            Some((lines, last)) => (lines.matches('\n').count() + 2, last.chars().count() + 1),
            None => (1, before.chars().count() + 1),
        };
        let reason = error.message().replace('\n', ", ");
        SettingsError::Syntax { path: path.to_owned(), line, column, reason }
    })
}

/// Sets in `settings` every value that `file` has.
fn lay_over(settings: &mut Table, file: Table) {
    for (key, value) in file {
        match (settings.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(file)) => lay_over(inner, file),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}
