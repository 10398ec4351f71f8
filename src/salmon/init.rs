//! Creates a folder with settings, prompts and principles to edit.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::presets::{HELD_OUT, OWN_PRINCIPLES};
use super::{Budget, PipelineConfig, PipelineError};
use crate::atomic;
use crate::file::AtFile;
use crate::principles::{Principle, PrincipleSet, SHIPPED, Use};

/// The shipped prompts.
const PROMPTS: &str = include_str!("../../examples/prompts.jsonl");
/// Maximum length of a short prompt, in characters, and number of such prompts in the small budget.
const SHORT: usize = 50;
const FEW: usize = 16;
/// The same for a run that trains a policy, and the number of other prompts that are held out.
const MEDIUM: usize = 60;
const TRAINED: usize = 48;
const HELD_OUT_PROMPTS: usize = 40;
/// The principle of a run whose principles are not given.
const EXAMPLE: &str = "Answer with a numbered list.";

/// What a new folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRun {
    /// The default settings.
    pub budget: Budget,
    /// An existing reward model for the same base, instead of the budget's. A relative path is made absolute.
    pub reward_model: Option<PathBuf>,
    /// Principles of the policy, one sentence each, for [`Budget::Policy`]. The default is one example.
    pub principles: Vec<String>,
}

/// Writes the inputs of a pipeline into `folder`: a commented `salmon.toml`, prompts, and principles. Returns the
/// paths of the new files. Existing prompts and principles are not changed.
///
/// ```
/// use parr::salmon::{Budget, NewRun, init};
///
/// let folder = tempfile::tempdir()?;
/// let principles = vec!["Mention a bird.".to_owned()];
/// let run = NewRun { budget: Budget::Policy, principles, ..NewRun::default() };
/// let files = init(&folder.path().join("birds"), &run)?;
/// assert!(files.iter().any(|path| path.ends_with("salmon.toml")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// * [`PipelineError::Occupied`] if the folder already has a `salmon.toml`. Nothing is written then.
/// * [`PipelineError::Principles`] if principles are given that the budget does not read, or that are no sentences.
///   Nothing is written then.
/// * [`PipelineError::Io`] if a file cannot be written, or the reward model does not exist.
pub fn init(folder: &Path, run: &NewRun) -> Result<Vec<PathBuf>, PipelineError> {
    let settings = folder.join(PipelineConfig::FILE);
    if settings.exists() {
        return Err(PipelineError::Occupied { path: settings });
    }
    let config = PipelineConfig::preset(run.budget);
    let given = match &run.reward_model {
        Some(path) if path.as_os_str() != crate::reward::SHIPPED => {
            Some(fs::canonicalize(path).map_err(PipelineError::io("open", path))?)
        }
        given => given.clone(),
    };
    let mut files = Vec::new();
    let [trained, held_out] = prompts(run.budget);
    files.push((folder.join(&config.prompts), trained));
    if run.budget == Budget::Policy {
        files.push((folder.join(HELD_OUT), held_out));
        files.push((folder.join(OWN_PRINCIPLES), own_principles(&run.principles)?));
    } else if !run.principles.is_empty() {
        let reason =
            format!("the budget \"{}\" reads a set with negations: edit its file", run.budget.name());
        return Err(PipelineError::Principles { reason });
    } else {
        for name in &config.preferences.principles {
            let shipped = |(id, _): &&(&str, &str)| *name == format!("principles/{id}.toml");
            if let Some((_, text)) = SHIPPED.iter().find(shipped) {
                files.push((folder.join(name), without_schema(text)));
            }
        }
    }
    files.retain(|(path, _)| !path.exists());
    // The settings are written last, so that a folder with settings is complete.
    files.push((settings, PipelineConfig::sample(run.budget, given.as_deref())));
    for (path, text) in &files {
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(PipelineError::io("create", parent))?;
        atomic::write(path, |file| file.write_all(text.as_bytes()))
            .map_err(PipelineError::io("write", path))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Prompts for a budget, those to train on and those held out: all shipped prompts, or short general ones in
/// English.
fn prompts(budget: Budget) -> [String; 2] {
    let (longest, trained, held_out) = match budget {
        Budget::Standard => return [PROMPTS.to_owned(), String::new()],
        Budget::Small => (SHORT, FEW, 0),
        Budget::Policy => (MEDIUM, TRAINED, HELD_OUT_PROMPTS),
    };
    let short = |line: &&str| {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        let length = row["prompt"].as_str().map_or(usize::MAX, |text| text.chars().count());
        row["type"] == "general" && row["language"] == "en" && length <= longest
    };
    let mut lines = PROMPTS.lines().filter(short).map(|line| format!("{line}\n"));
    let first = lines.by_ref().take(trained).collect();
    [first, lines.take(held_out).collect()]
}

/// A file with a principle for each sentence.
fn own_principles(sentences: &[String]) -> Result<String, PipelineError> {
    let example = [EXAMPLE.to_owned()];
    let sentences = if sentences.is_empty() { &example[..] } else { sentences };
    let principle = |(place, sentence): (usize, &String)| Principle {
        id: format!("mine-{}", place + 1),
        dimension: format!("Principle {}", place + 1),
        definition: sentence.trim().to_owned(),
        negative: None,
        weight: 1.0,
        tags: Vec::new(),
        boost: Default::default(),
        decides: true,
        check: None,
    };
    let set = PrincipleSet {
        id: "mine".to_owned(),
        title: "My principles".to_owned(),
        description: "What a good reply is.".to_owned(),
        uses: Use::Always,
        principles: sentences.iter().enumerate().map(principle).collect(),
        ..PrincipleSet::default()
    };
    let text = set.to_toml();
    PrincipleSet::parse(&text).map_err(|error| PipelineError::Principles { reason: error.to_string() })?;
    Ok(format!(
        "# What a good reply is. Edit a `definition`, or add a principle, and run again: the policy is trained \
         anew.\n\n{text}"
    ))
}

/// The file without its first line, which names a schema that is not in the folder.
fn without_schema(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#:schema") => rest.trim_start_matches("#\n").to_owned(),
        _ => text.to_owned(),
    }
}
