//! Model, principles and settings of a file of comparisons, in a second file: records of two runs must not
//! mix.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::{JudgeError, PreferenceConfig};
use crate::atomic;
use crate::file::AtFile;
use crate::file::hex;
use crate::output;
use crate::principles::PrincipleSet;

/// Settings that may differ between runs into one file. A larger limit adds prompts, and a file of principles
/// may be renamed.
const FREE: [&str; 2] = ["settings.prompts.limit", "settings.principles"];

/// An origin is much smaller than this. A file of this size or more is something else.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    /// Name of the model in the records.
    model: String,
    /// Name of the model that judges, if it is another one.
    #[serde(default)]
    judge_model: String,
    /// Hash of the principles and their wordings.
    principles: String,
    settings: PreferenceConfig,
}

impl Origin {
    pub fn new(
        model: &str,
        judge_model: Option<&str>,
        set: &PrincipleSet,
        config: &PreferenceConfig,
    ) -> Origin {
        let line = |one: &crate::principles::Principle| format!("{} {}\n", one.id, one.wording());
        let lines: String = set.principles.iter().map(line).collect();
        let principles = hex(Sha256::digest(lines));
        let judge_model = judge_model.unwrap_or_default().to_owned();
        Origin { model: model.to_owned(), judge_model, principles, settings: config.clone() }
    }

    /// `Ok` if a run wrote `file`, or may write it: it is missing or empty, or has an origin beside it.
    ///
    /// # Errors
    ///
    /// [`JudgeError::Io`] for any other file, and for a file at the origin's path that is none.
    pub fn check(file: &Path) -> Result<(), JudgeError> {
        let path = output::beside(file);
        let refused =
            |path: &Path, reason: String| Err(JudgeError::io("write to", path)(output::refused(reason)));
        let empty = match fs::metadata(file) {
            Ok(found) if !found.is_file() => {
                return refused(file, "it exists and is not a file; choose another path".to_owned());
            }
            Ok(found) => found.len() == 0,
            Err(_) => true,
        };
        if path.exists() {
            return match Origin::read(&path)? {
                Some(_) => Ok(()),
                None => refused(&path, "it exists and no run wrote it; choose another file".to_owned()),
            };
        }
        if empty {
            return Ok(());
        }
        let reason = format!(
            "it exists, and {}, which records the settings of a run, is missing, so no run wrote it; choose \
             another path, or delete it",
            path.display()
        );
        refused(file, reason)
    }

    /// `Ok` if the `bytes` bytes of comparisons in `file` have this origin. The first run writes it.
    pub fn agree(&self, file: &Path, bytes: u64) -> Result<(), JudgeError> {
        let path = output::beside(file);
        Origin::check(file)?;
        let other = |reason| Err(JudgeError::OtherRun { path: file.to_owned(), reason });
        if bytes == 0 {
            return self.write(&path, file);
        }
        let Some(found) = Origin::read(&path)? else {
            return other(format!("{} is damaged", path.display()));
        };
        let (there, here) = (found.flat(), self.flat());
        let free = |name: &str| FREE.contains(&name);
        let differs = there.iter().zip(&here).find(|(there, here)| there != here && !free(&there.0));
        match differs {
            None => Ok(()),
            Some(((name, there), (_, here))) => {
                let name = name.strip_prefix("settings.").unwrap_or(name);
                other(format!("{name} was {there} in that run and is {here} now"))
            }
        }
    }

    /// The origin in the file at `path`; `None` if it is something else.
    fn read(path: &Path) -> Result<Option<Origin>, JudgeError> {
        let mut text = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
        if read.map_err(JudgeError::io("read", path))? as u64 == MAX_BYTES {
            return Ok(None);
        }
        Ok(std::str::from_utf8(&text).ok().and_then(|text| toml::from_str(text).ok()))
    }

    fn write(&self, path: &Path, file: &Path) -> Result<(), JudgeError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let body = toml::to_string(self).expect("settings are plain values");
        let text = format!(
            "# Model, principles and settings of {name}. Later runs compare theirs with these.\n{body}"
        );
        atomic::write(path, |out| out.write_all(text.as_bytes())).map_err(JudgeError::io("write", path))
    }

    /// All values with their names, in a fixed order.
    fn flat(&self) -> Vec<(String, String)> {
        fn add(prefix: &str, table: &Table, flat: &mut Vec<(String, String)>) {
            for (key, value) in table {
                let name = format!("{prefix}{key}");
                match value {
                    Value::Table(inner) => add(&format!("{name}."), inner, flat),
                    value => flat.push((name, value.to_string())),
                }
            }
        }
        let mut flat = Vec::new();
        add("", &Table::try_from(self).expect("settings are plain values"), &mut flat);
        flat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_file_is_no_origin() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("judged.jsonl");
        let beside = fs::File::create(output::beside(&file)).expect("created");
        // It takes no room on the disk, but more memory than there is.
        if beside.set_len(1 << 40).is_err() {
            beside.set_len(2 * MAX_BYTES).expect("that fits");
        }
        let error = crate::Error::from(Origin::check(&file).expect_err("not ours"));
        assert!(format!("{error:?}").contains("no run wrote it"), "{error:?}");
    }
}
