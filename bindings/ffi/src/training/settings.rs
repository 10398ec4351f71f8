//! Converts options to a run of the core.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use parr::adapter::Adapter;
use parr::align::AlignConfig;
use parr::align::{Align, AlignPrompts, Guidelines, Outcome, RewardRole};
use parr::model::Model;
use parr::reward::{RewardConfig, RewardData, RewardTraining};
use parr::settings::Auto;
use parr::settings::Settings as _;
use parr::train::{Control, Progress, Sft, SftConfig};

use super::told::TrainingEvent;
use super::{TrainingData, TrainingOptions};
use crate::ParrError;
use crate::model::Loaded;
use crate::principles::PrincipleSet;

/// A training run with its settings and data.
pub(super) enum Work {
    Sft {
        file: PathBuf,
        held_out: Option<PathBuf>,
        config: Box<SftConfig>,
    },
    Reward {
        data: RewardData,
        config: Box<RewardConfig>,
    },
    Align {
        prompts: AlignPrompts,
        guidelines: Guidelines,
        reward: Option<(Adapter, PathBuf)>,
        config: Box<AlignConfig>,
    },
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
                let held_out = held_out.as_ref().map(PathBuf::from);
                Ok(Work::Sft { file: file.into(), held_out, config: Box::new(config) })
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
                let open = |folder: &String| Adapter::open_on(&loaded.model, Path::new(folder), false);
                let adapter = reward.as_ref().map(open).transpose()?;
                let reward = adapter.zip(reward.as_ref().map(PathBuf::from));
                Ok(Work::Align { prompts, guidelines, reward, config: Box::new(config) })
            }
        }
    }

    /// Runs the training. Returns the adapter's folder, or none after a cancel.
    pub fn run(
        &self,
        model: &Model,
        start: Option<&Adapter>,
        out: &Path,
        resume: bool,
        control: &Control,
        hear: &mut dyn FnMut(TrainingEvent),
    ) -> Result<Option<PathBuf>, ParrError> {
        let hear = RefCell::new(hear);
        let started = |steps, parameters: usize, peak_bytes| {
            let parameters = parameters as u64;
            hear.borrow_mut()(TrainingEvent::Started { steps, parameters, peak_bytes });
        };
        let mut progress = |progress: Progress<'_>| hear.borrow_mut()(progress.into());
        match self {
            Work::Sft { file, held_out, config } => {
                let held_out = held_out.as_deref();
                let sft = Sft { model, data: file, held_out, init: start, out, config, resume };
                let mut announce = |ahead: &parr::train::Prospect| {
                    started(ahead.steps, ahead.parameters, ahead.plan.peak_bytes());
                };
                Ok(sft.run(control, &mut announce, &mut progress)?)
            }
            Work::Reward { data, config } => {
                let init = start.map(|adapter| (adapter, "an adapter of the app"));
                let training = RewardTraining { model, data, init, out, config, resume };
                let mut announce = |ahead: &parr::reward::RewardProspect| {
                    started(ahead.steps, ahead.parameters, ahead.plan.peak_bytes());
                };
                Ok(training.run(control, &mut announce, &mut progress)?)
            }
            Work::Align { prompts, guidelines, reward, config } => {
                let reward = reward.as_ref().map(|(adapter, folder)| RewardRole::shared(adapter, folder));
                let align = Align {
                    model,
                    prompts,
                    guidelines,
                    init: start,
                    reward: reward.transpose()?,
                    sources: Vec::new(),
                    out,
                    config,
                    budget: None,
                    resume,
                };
                let mut announce = |ahead: &parr::align::AlignProspect| {
                    // Without a budget of time the number of steps is known.
                    started(ahead.steps.unwrap_or(0), ahead.parameters, ahead.plan.peak_bytes());
                };
                let ended = align.run(control, &mut announce, &mut |progress| {
                    if let Some(event) = TrainingEvent::of_alignment(progress) {
                        hear.borrow_mut()(event);
                    }
                })?;
                match ended {
                    Outcome::Done(adapter) => Ok(Some(adapter)),
                    Outcome::Cancelled => Ok(None),
                    Outcome::Collapsed { sign, step, adapter } => Err(ParrError::Diverged(format!(
                        "given up in step {step}: {sign}; what it has become is in {}",
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
