//! Converts options to a run of the core.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parr::adapter::Adapter;
use parr::align::{Align, AlignConfig, AlignPrompts, Guidelines, Outcome, RewardRole};
use parr::model::Model;
use parr::reward::{RewardConfig, RewardData, RewardModel, RewardTraining};
use parr::settings::{Auto, Settings};
use parr::train::{Control, Event, Rows, Sft, SftConfig};

use super::workers::{AppWorkers, TrainingWorkers};
use super::{TrainingData, TrainingOptions};
use crate::ParrError;
use crate::model::Loaded;
use crate::principles::PrincipleSet;

/// A training run with its settings and data.
pub(super) enum Work {
    Sft { rows: Rows, held_out: Option<Rows>, config: Box<SftConfig> },
    Reward { data: RewardData, config: Box<RewardConfig> },
    Align { prompts: AlignPrompts, guidelines: Guidelines, reward: Option<PathBuf>, config: Box<AlignConfig> },
}

/// Where a run writes, and where it computes.
pub(super) struct Place<'a> {
    pub out: &'a Path,
    pub resume: bool,
    pub workers: Option<Arc<dyn TrainingWorkers>>,
}

impl Work {
    /// Reads settings and data. `memory_mib` is the budget if the settings name none.
    pub fn read(
        options: &TrainingOptions,
        loaded: &Loaded,
        memory_mib: Option<usize>,
    ) -> Result<Work, ParrError> {
        let reward = |data| {
            let mut config = RewardConfig::parse(&options.settings, Path::new("settings"))?;
            budget(&mut config.memory.budget_mib, memory_mib);
            Ok(Work::Reward { data, config: Box::new(config) })
        };
        match &options.data {
            TrainingData::Examples { file, held_out } => {
                let mut config = SftConfig::parse(&options.settings, Path::new("settings"))?;
                budget(&mut config.memory.budget_mib, memory_mib);
                let held_out = held_out.as_ref().map(Rows::file);
                Ok(Work::Sft { rows: Rows::file(file), held_out, config: Box::new(config) })
            }
            TrainingData::Comparisons { files, principles, by_check } => {
                let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
                let data = RewardData::judged(&files, principles)?;
                reward(if *by_check { data.checked()? } else { data })
            }
            TrainingData::Preferences { file } => reward(RewardData::preferences(Path::new(file))?),
            TrainingData::Prompts { file, principles, reward } => {
                let mut config = AlignConfig::parse(&options.settings, Path::new("settings"))?;
                budget(&mut config.memory.budget_mib, memory_mib);
                let sets = principles.iter().cloned().map(PrincipleSet::checked);
                let guidelines = Guidelines::new(sets.collect::<Result<_, _>>()?);
                let longest = config.rollout.max_prompt_tokens;
                let prompts = AlignPrompts::read(Path::new(file), loaded.chat()?, longest)?;
                let reward = reward.as_ref().map(PathBuf::from);
                // A folder that is no reward model is an error before anything runs.
                if let Some(folder) = &reward {
                    RewardModel::read(&loaded.model, folder, false)?;
                }
                Ok(Work::Align { prompts, guidelines, reward, config: Box::new(config) })
            }
        }
    }

    /// Runs the training. Returns the adapter's folder, or [`ParrError::Cancelled`] after a cancel.
    pub fn run(
        &self,
        model: &Model,
        start: Option<&Adapter>,
        place: Place<'_>,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, ParrError> {
        let Place { out, resume, workers } = place;
        match self {
            Work::Sft { .. } | Work::Reward { .. } if workers.is_some() => Err(ParrError::Argument(
                "workers compute alignment runs only: give TrainingData.Prompts".to_owned(),
            )),
            Work::Sft { rows, held_out, config } => {
                let mut sft = Sft::new(model, rows.clone(), out).config(config).init(start).resume(resume);
                if let Some(rows) = held_out {
                    sft = sft.held_out(rows.clone());
                }
                Ok(sft.run(control, on_event)?)
            }
            Work::Reward { data, config } => {
                let mut training = RewardTraining::new(model, data, out).config(config).resume(resume);
                if let Some(adapter) = start {
                    training = training.init(adapter, "an adapter of the app");
                }
                Ok(training.run(control, on_event)?)
            }
            Work::Align { prompts, guidelines, reward, config } => {
                let reward = reward.as_ref().map(|folder| RewardRole::open(model, folder, false));
                let mut align = Align::new(model, prompts, guidelines, out)
                    .config(config)
                    .init(start)
                    .reward(reward.transpose()?)
                    .resume(resume);
                if let Some(workers) = workers {
                    align = align.workers(AppWorkers(workers));
                }
                match align.run(control, on_event)? {
                    Outcome::Done(adapter) => Ok(adapter),
                    Outcome::Collapsed { sign, step, adapter } => Err(ParrError::Diverged(format!(
                        "the policy collapsed in step {step}: {sign}; its adapter is in {}",
                        adapter.display()
                    ))),
                }
            }
        }
    }
}

fn budget(setting: &mut Auto, memory_mib: Option<usize>) {
    if let (Auto::Auto, Some(mib)) = (&setting, memory_mib) {
        *setting = Auto::Fixed(mib);
    }
}
