//! Creates a folder with settings, prompts and principles to edit.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Budget, PipelineConfig, PipelineError};
use crate::atomic;
use crate::file::AtFile;
use crate::principles::SHIPPED;

/// The shipped prompts.
const PROMPTS: &str = include_str!("../../examples/prompts.jsonl");
/// Number of prompts in the small budget, and their maximum length in characters.
const FEW: usize = 16;
const SHORT: usize = 50;

/// Writes the inputs of a pipeline into `folder`: a commented `salmon.toml`, `prompts.jsonl`, and the set of
/// principles for the judge. Returns the paths of the new files. Existing prompts and principles are not
/// changed. If `reward_model` is given, the settings contain its absolute path.
///
/// # Errors
///
/// * [`PipelineError::Occupied`] if the folder already has a `salmon.toml`. Nothing is written then.
/// * [`PipelineError::Io`] if a file cannot be written, or `reward_model` does not exist.
pub fn init(
    folder: &Path,
    budget: Budget,
    reward_model: Option<&Path>,
) -> Result<Vec<PathBuf>, PipelineError> {
    let settings = folder.join(PipelineConfig::FILE);
    if settings.exists() {
        return Err(PipelineError::Occupied { path: settings });
    }
    let config = PipelineConfig::preset(budget);
    let given = reward_model.map(|path| fs::canonicalize(path).map_err(PipelineError::io("open", path)));
    let given = given.transpose()?;
    let mut files = vec![(folder.join(&config.prompts), prompts(budget))];
    for name in &config.preferences.principles {
        let shipped = |(id, _): &&(&str, &str)| *name == format!("principles/{id}.toml");
        if let Some((_, text)) = SHIPPED.iter().find(shipped) {
            files.push((folder.join(name), without_schema(text)));
        }
    }
    files.retain(|(path, _)| !path.exists());
    // The settings are written last, so that a folder with settings is complete.
    files.push((settings, PipelineConfig::sample(budget, given.as_deref())));
    for (path, text) in &files {
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(PipelineError::io("create", parent))?;
        atomic::write(path, |file| file.write_all(text.as_bytes()))
            .map_err(PipelineError::io("write", path))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Prompts for a budget: all shipped prompts, or a few short general ones in English.
fn prompts(budget: Budget) -> String {
    if budget == Budget::Standard {
        return PROMPTS.to_owned();
    }
    let short = |line: &&str| {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        let length = row["prompt"].as_str().map_or(usize::MAX, |text| text.chars().count());
        row["type"] == "general" && row["language"] == "en" && length <= SHORT
    };
    PROMPTS.lines().filter(short).take(FEW).map(|line| format!("{line}\n")).collect()
}

/// The file without its first line, which names a schema that is not in the folder.
fn without_schema(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#:schema") => rest.trim_start_matches("#\n").to_owned(),
        _ => text.to_owned(),
    }
}
