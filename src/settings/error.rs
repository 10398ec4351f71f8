//! Errors of settings.

use std::fmt::Display;
use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::file::FileError;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] FileError),

    /// The file is not TOML, or has an unknown key, or a value of the wrong type: correct it there.
    #[error("{} line {line} column {column}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },

    /// Settings are outside their range, or contradict each other. All such settings are reported at once.
    #[error("the settings are not usable: {}", faults.join("; "))]
    Faults {
        /// One sentence for each fault, with the setting's name, its value and the allowed values.
        faults: Vec<String>,
    },
}

impl SettingsError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SettingsError::Io(file) => file.kind(),
            _ => ErrorKind::Argument,
        }
    }
}

/// Settings that are outside their range, found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    found: Vec<String>,
    table: String,
}

/// Whether `value` is above 0 and finite.
pub(crate) fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

/// Maximum number of tokens of a text.
pub(crate) const MOST_TOKENS: u64 = 1 << 20;
/// Maximum number of sequences, replies or prompts of one step.
pub(crate) const MOST_SEQUENCES: u64 = 1 << 16;
/// Maximum number of steps, rows or prompts.
pub(crate) const MOST_ITEMS: u64 = 1_000_000_000;
/// Largest random seed: settings files have no larger integers.
pub(crate) const MOST_SEED: u64 = i64::MAX as u64;

impl Faults {
    /// Adds a fault unless `sound`.
    pub fn need(&mut self, sound: bool, setting: &str, value: impl Display, expected: &str) {
        if !sound {
            self.found.push(format!("{}{setting} is {value}, expected {expected}", self.table));
        }
    }

    /// Adds a fault if a count is above `most`. A count decides how much is allocated, so none is without a
    /// bound.
    pub fn at_most(&mut self, setting: &str, value: impl TryInto<u64> + Display + Copy, most: u64) {
        let sound = value.try_into().is_ok_and(|value| value <= most);
        self.need(sound, setting, value, &format!("at most {most}"));
    }

    /// Runs `check` on the settings of the table `name`, whose faults are reported under that name.
    pub fn of_table(&mut self, name: &str, check: impl FnOnce(&mut Faults)) {
        let outer = self.table.clone();
        self.table = format!("{outer}{name}.");
        check(self);
        self.table = outer;
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Faults`] with all of them.
    pub fn finish(self) -> Result<(), SettingsError> {
        if self.found.is_empty() { Ok(()) } else { Err(SettingsError::Faults { faults: self.found }) }
    }
}
