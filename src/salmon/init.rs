//! A folder to begin with: settings, prompts and principles, all to be edited.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Budget, PipelineConfig, PipelineError};
use crate::atomic;
use crate::file::AtFile;
use crate::principles::SHIPPED;

/// The prompts that come with Parr.
const PROMPTS: &str = include_str!("../../examples/prompts.jsonl");
/// What a small budget asks: so many prompts, of no more characters.
const FEW: usize = 16;
const SHORT: usize = 50;

/// Writes what a pipeline reads into `folder`: `salmon.toml` with comments, `prompts.jsonl`, and the set of
/// principles that it judges under; returns their paths. Prompts and principles that are there are left alone. With
/// a `reward_model` the settings name that one, from the root of the file system on.
///
/// # Errors
///
/// * [`PipelineError::Occupied`] if there is a `salmon.toml` already; nothing is written then.
/// * [`PipelineError::Io`] if a file cannot be written, or nothing is at `reward_model`.
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
    // Last: where it is, everything is.
    files.push((settings, PipelineConfig::sample(budget, given.as_deref())));
    for (path, text) in &files {
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(PipelineError::io("create", parent))?;
        atomic::write(path, |file| file.write_all(text.as_bytes()))
            .map_err(PipelineError::io("write", path))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Prompts for a budget: of those that come with Parr all, or a few short ones of every day.
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

/// The file without its first line, which names a schema that is not there.
fn without_schema(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#:schema") => rest.trim_start_matches("#\n").to_owned(),
        _ => text.to_owned(),
    }
}
