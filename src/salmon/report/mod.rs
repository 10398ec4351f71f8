//! The results of all stages, read from their files. Nothing is run.

mod change;
#[cfg(feature = "html")]
mod page;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use change::{Change, Measure, ReplyPair};

use super::sources::{guideline_sets, resolve};
use super::work::COMPARISONS;
use super::{Manifest, PipelineConfig, PipelineError, Stage};
use crate::align::RolloutSample;
use crate::file::AtFile;
use crate::judge::{WrittenReport, written_report};
use crate::preferences::{Comparison, PrincipleReport, judge_report, read_records};
use crate::principles::PrincipleSet;
use crate::steer::compare::ComparisonReport;

/// Results of the stages in a folder that are done.
#[derive(Clone, Debug)]
pub struct PipelineReport {
    /// The base, as the settings name it.
    pub model: String,
    /// Path of the existing reward model that the settings name, if any.
    pub reward_model: Option<PathBuf>,
    /// The folder of each stage that is done.
    pub folders: BTreeMap<Stage, String>,
    /// Principles that the judge used. `None` with an existing reward model.
    pub principles: Option<PrincipleSet>,
    /// Principles that scored the policy's replies.
    pub guidelines: Vec<PrincipleSet>,
    /// Number of the judge's comparisons.
    pub comparisons: usize,
    /// The judge's verdicts by principle.
    pub judge: Vec<PrincipleReport>,
    /// How often verdicts match the principle that replies were written under.
    pub written: Vec<WrittenReport>,
    /// Evaluation of the reward model, as `parr reward eval --json` prints it. Null if the stage is not done.
    pub evaluation: Value,
    /// Metrics of the reward model's training, one record per step.
    pub reward: Vec<Map<String, Value>>,
    /// Metrics of the policy's training, one record per step.
    pub align: Vec<Map<String, Value>>,
    /// Comparison of the steering methods. `None` if the stage is not done.
    pub comparison: Option<ComparisonReport>,
    /// Whether the compared methods answered prompts that no stage trained on.
    pub comparison_held_out: bool,
    /// Step and replies of each rollout.
    pub rollouts: Vec<(u64, Vec<RolloutSample>)>,
}

impl PipelineReport {
    /// Reads the files of the stages that the manifest in `folder` lists as current.
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Manifest`] or [`PipelineError::Io`] if the manifest or a file of a stage cannot be
    ///   read;
    /// * [`PipelineError::Stage`] if principles have mistakes, or a stage's file is damaged.
    pub fn gather(folder: &Path, config: &PipelineConfig) -> Result<PipelineReport, PipelineError> {
        let mut folders = Manifest::read(folder)?.current;
        // The manifest may list stages that the settings now leave out.
        let stages = config.stages();
        folders.retain(|stage, _| stages.contains(stage));
        let place = |stage: Stage| folders.get(&stage).map(|name| folder.join(name));
        let found = |names: &[String]| names.iter().map(|name| resolve(folder, name)).collect::<Vec<_>>();
        let principles = match config.stages.reward_model {
            None => Some(PrincipleSet::open_all(&found(&config.preferences.principles))),
            Some(_) => None,
        };
        let principles = principles.transpose().map_err(PipelineError::at(Stage::Preferences))?;
        let guidelines = if config.stages.align || config.stages.comparison {
            guideline_sets(&found(&config.guidelines)).map_err(PipelineError::at(Stage::Align))?
        } else {
            Vec::new()
        };
        let comparisons = match place(Stage::Preferences) {
            Some(path) => read_records::<Comparison>(&path.join(COMPARISONS))
                .map_err(PipelineError::at(Stage::Preferences))?,
            None => Vec::new(),
        };
        let measured = |stage| -> Result<Value, PipelineError> {
            let Some(path) = place(stage).map(|path| path.join("report.json")) else {
                return Ok(Value::Null);
            };
            let text = fs::read(&path).map_err(PipelineError::io("read", &path))?;
            Ok(serde_json::from_slice(&text).unwrap_or_default())
        };
        let figures =
            |stage| place(stage).map_or(Ok(Vec::new()), |path| records(&path.join("metrics.jsonl")));
        Ok(PipelineReport {
            model: config.model.clone(),
            reward_model: config.stages.reward_model.clone(),
            comparisons: comparisons.len(),
            judge: judge_report(&comparisons),
            written: written_report(&comparisons),
            evaluation: measured(Stage::Evaluation)?,
            comparison: serde_json::from_value(measured(Stage::Comparison)?).ok(),
            comparison_held_out: config.comparison.prompts.is_some(),
            reward: figures(Stage::Reward)?,
            align: figures(Stage::Align)?,
            rollouts: place(Stage::Align).map_or(Ok(Vec::new()), |path| rollouts(&path.join("rollouts")))?,
            folders,
            principles,
            guidelines,
        })
    }

    /// First and last reply to each prompt that was answered in at least two rollouts, with the steps.
    /// Prompts with the most steps between both come first.
    pub fn before_and_after(&self) -> Vec<[(u64, &RolloutSample); 2]> {
        let mut ends: BTreeMap<&str, [(u64, &RolloutSample); 2]> = BTreeMap::new();
        for (step, samples) in &self.rollouts {
            for sample in samples {
                let pair = ends.entry(&sample.id).or_insert([(*step, sample); 2]);
                pair[1] = (*step, sample);
            }
        }
        let mut pairs: Vec<[(u64, &RolloutSample); 2]> =
            ends.into_values().filter(|[first, last]| first.0 < last.0).collect();
        pairs.sort_by_key(|[first, last]| std::cmp::Reverse(last.0 - first.0));
        pairs
    }

    /// For each principle, the mean reward and the number of the replies that were scored under it, in the
    /// first half of the rollouts and in the second.
    pub fn by_principle(&self) -> BTreeMap<&str, [(f64, usize); 2]> {
        let middle = self.rollouts.len() / 2;
        let mut sums: BTreeMap<&str, [(f64, usize); 2]> = BTreeMap::new();
        for (place, (_, samples)) in self.rollouts.iter().enumerate() {
            for sample in samples {
                for principle in &sample.principles {
                    let half = &mut sums.entry(principle).or_default()[usize::from(place >= middle)];
                    *half = (half.0 + sample.reward, half.1 + 1);
                }
            }
        }
        sums.values_mut().flatten().for_each(|(sum, count)| *sum /= (*count).max(1) as f64);
        sums
    }
}

/// The lines that are JSON objects. An incomplete last line is left out.
fn records(path: &Path) -> Result<Vec<Map<String, Value>>, PipelineError> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(PipelineError::io("read", path))?,
    };
    let mut records = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(PipelineError::io("read", path))?;
        records.extend(serde_json::from_str(&line).ok());
    }
    Ok(records)
}

/// The rollouts in a folder, in the order of their steps.
fn rollouts(folder: &Path) -> Result<Vec<(u64, Vec<RolloutSample>)>, PipelineError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(PipelineError::io("read", folder))?,
    };
    let mut rollouts = Vec::new();
    for entry in entries {
        let path: PathBuf = entry.map_err(PipelineError::io("read", folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let step = name.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".jsonl"));
        let Some(step) = step.and_then(|digits| digits.parse().ok()) else { continue };
        let samples = records(&path)?.into_iter().filter_map(|one| serde_json::from_value(one.into()).ok());
        rollouts.push((step, samples.collect()));
    }
    rollouts.sort_by_key(|(step, _)| *step);
    Ok(rollouts)
}
