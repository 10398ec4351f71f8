//! The work of each stage.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::sources::steering_sets;
use super::{PipelineError, Sources, Stage, StageStatus};
use crate::adapter::Adapter;
use crate::align::{Align, AlignProgress, AlignPrompts, AlignProspect, Guidelines, Outcome, RewardRole};
use crate::atomic;
use crate::file::AtFile;
use crate::generate::{GenerateError, GeneratorOptions, Sampling};
use crate::judge::{AdaptedModel, JudgeError, PreferenceProgress, PreferenceReport, PreferenceRun};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::principles::PrincipleSet;
use crate::reward::{
    EvaluateOptions, RewardData, RewardError, RewardModel, RewardOptions, RewardProspect, RewardReport,
    RewardTraining, evaluate,
};
use crate::self_align::{SelfAlign, SelfAlignProgress, SelfAlignProspect, SelfAlignReport};
use crate::steer::compare::{CompareOptions, ComparisonReport, compare};
use crate::steer::{SteerError, SteeredModel, Steering, Tell};
use crate::train::{Control, Progress, Prospect};

/// An event of a running pipeline.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A stage is next. It runs unless it is done.
    Stage {
        /// The stage.
        stage: Stage,
        /// Its number, from 1.
        number: usize,
        /// Number of all stages.
        of: usize,
        /// Its status before it runs.
        status: &'a StageStatus,
        /// Its folder.
        folder: &'a Path,
    },
    /// Self-alignment starts to sample answers.
    Asking(&'a SelfAlignProspect),
    /// Self-alignment sampled a token.
    Answered(SelfAlignProgress),
    /// All answers of self-alignment are sampled and filtered.
    Answers(&'a SelfAlignReport),
    /// Self-alignment starts to train on its answers.
    Distilling(&'a Prospect),
    /// A reply grew by a token, or a pair was judged.
    Judging(&'a PreferenceProgress),
    /// All pairs are judged.
    Judged(&'a PreferenceReport),
    /// The training of a reward model starts.
    Training(&'a RewardProspect),
    /// Progress of a training run.
    Learning(Progress<'a>),
    /// The reward model has scored the first number of replies, of the second number.
    Measuring(usize, usize),
    /// The reward model is evaluated.
    Measured(&'a RewardReport),
    /// The training of a policy starts.
    Aligning(&'a AlignProspect),
    /// Progress of that training.
    Aligned(AlignProgress<'a>),
    /// A method of steering has answered some prompts.
    Comparing {
        /// Name of the method.
        method: &'a str,
        /// Number of prompts that it has answered.
        done: usize,
        /// Number of all prompts.
        of: usize,
    },
    /// All methods of steering are compared.
    Compared(&'a ComparisonReport),
}

/// A stage that runs.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub model: &'a Model,
    pub sources: &'a Sources,
    /// The pipeline's folder.
    pub root: &'a Path,
    /// The folder of each stage that is done.
    pub done: &'a BTreeMap<Stage, String>,
    /// The stage's folder.
    pub out: &'a Path,
}

/// The file of judged replies.
pub(super) const COMPARISONS: &str = "comparisons.jsonl";

impl Work<'_> {
    /// Runs `stage`. Returns `None` after a cancel.
    pub fn run(
        &self,
        stage: Stage,
        control: &Control,
        hear: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<()>, PipelineError> {
        let done = match stage {
            Stage::SelfAlign => self.self_align(control, hear),
            Stage::Preferences => self.preferences(control, hear),
            Stage::Reward => self.reward(control, hear),
            Stage::Evaluation => self.evaluation(control, hear),
            Stage::Align => self.align(control, hear),
            Stage::Comparison => self.comparison(control, hear),
        };
        match done {
            Err(crate::Error::Generate(GenerateError::Cancelled)) => Ok(None),
            Err(crate::Error::Judge(JudgeError::Generate(GenerateError::Cancelled))) => Ok(None),
            Err(crate::Error::Reward(RewardError::Generate(GenerateError::Cancelled))) => Ok(None),
            Err(crate::Error::Steer(SteerError::Generate(GenerateError::Cancelled))) => Ok(None),
            Err(crate::Error::Steer(SteerError::Reward(RewardError::Generate(GenerateError::Cancelled)))) => {
                Ok(None)
            }
            Err(crate::Error::Pipeline(error)) => Err(error),
            done => done.map_err(PipelineError::at(stage)),
        }
    }

    fn self_align(
        &self,
        control: &Control,
        hear: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<()>, crate::Error> {
        let (rules, exemplars) = self.sources.rules.as_ref().expect("read where this is a stage");
        let run = SelfAlign {
            model: self.model,
            prompts: &self.sources.prompts,
            rules,
            exemplars,
            out: self.out,
            config: &self.sources.config.self_align,
            resume: true,
        };
        let hear = RefCell::new(hear);
        let report = run.sample(
            &control.cancel,
            &mut |prospect| hear.borrow_mut()(Event::Asking(prospect)),
            &mut |progress| hear.borrow_mut()(Event::Answered(progress)),
        )?;
        let Some(report) = report else { return Ok(None) };
        hear.borrow_mut()(Event::Answers(&report));
        let adapter = run.distill(
            control,
            &mut |prospect| hear.borrow_mut()(Event::Distilling(prospect)),
            &mut |progress| hear.borrow_mut()(Event::Learning(progress)),
        )?;
        Ok(adapter.map(|_| ()))
    }

    fn preferences(
        &self,
        control: &Control,
        hear: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<()>, crate::Error> {
        let attached = self.aligned()?.map(|adapter| self.attach(&adapter)).transpose()?;
        let adapter = attached.as_ref().map(|(bank, id)| (bank, *id));
        let model = AdaptedModel { adapter, ..AdaptedModel::base(self.model) };
        let run = PreferenceRun {
            model,
            model_name: &model.name()?,
            prompts: &self.sources.prompts,
            principles: self.principles(),
            config: &self.sources.config.preferences,
            out: &self.out.join(COMPARISONS),
        };
        let report = run.run(&control.cancel, &mut |progress| hear(Event::Judging(progress)))?;
        hear(Event::Judged(&report));
        Ok(Some(()))
    }

    fn reward(&self, control: &Control, hear: &mut dyn FnMut(Event<'_>)) -> Result<Option<()>, crate::Error> {
        let aligned = self.aligned()?;
        let training = RewardTraining {
            model: self.model,
            data: &self.data()?,
            init: aligned.as_ref().map(|adapter| (adapter, Stage::SelfAlign.name())),
            out: self.out,
            config: &self.sources.config.reward,
            resume: true,
        };
        let hear = RefCell::new(hear);
        let adapter = training.run(
            control,
            &mut |prospect| hear.borrow_mut()(Event::Training(prospect)),
            &mut |progress| hear.borrow_mut()(Event::Learning(progress)),
        )?;
        Ok(adapter.map(|_| ()))
    }

    fn evaluation(
        &self,
        control: &Control,
        hear: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<()>, crate::Error> {
        let measure = self.sources.config.evaluation;
        let options = RewardOptions { slots: measure.batch, any_base: false };
        let mut reward = RewardModel::open(self.model, &self.folder(Stage::Reward), &options)?;
        let options = EvaluateOptions {
            aggregate: self.sources.config.reward.aggregate.clone(),
            everything: false,
            limit: Some(measure.limit).filter(|limit| *limit > 0),
        };
        let mut on_scored = |done, all| hear(Event::Measuring(done, all));
        let report = evaluate(&mut reward, &self.data()?, &options, &control.cancel, &mut on_scored)?;
        let json = serde_json::to_vec_pretty(&report).expect("figures are plain values");
        self.write("report.json", &json)?;
        self.write("report.html", report.to_html().as_bytes())?;
        hear(Event::Measured(&report));
        Ok(Some(()))
    }

    fn align(&self, control: &Control, hear: &mut dyn FnMut(Event<'_>)) -> Result<Option<()>, crate::Error> {
        let config = &self.sources.config;
        let chat = self.model.chat_format().ok_or(JudgeError::NoChat)?;
        let aligned = self.aligned()?;
        let (path, own) = self.reward_model();
        let (reward, _) = RewardModel::read(self.model, &path, own)?;
        self.sources.check_reward_model()?;
        let longest = config.align.rollout.max_prompt_tokens;
        let run = Align {
            model: self.model,
            prompts: &AlignPrompts::new(&self.sources.prompts, chat, longest)?,
            guidelines: &Guidelines::new(self.sources.guidelines.clone()),
            init: aligned.as_ref(),
            reward: Some(RewardRole::shared(&reward, &path)?),
            sources: Vec::new(),
            out: self.out,
            config: &config.align,
            budget: None,
            resume: true,
        };
        let hear = RefCell::new(hear);
        let outcome = run.run(
            control,
            &mut |prospect| hear.borrow_mut()(Event::Aligning(prospect)),
            &mut |progress| hear.borrow_mut()(Event::Aligned(progress)),
        )?;
        match outcome {
            Outcome::Done(_) => Ok(Some(())),
            Outcome::Cancelled => Ok(None),
            Outcome::Collapsed { sign, step, .. } => {
                let rollouts = self.out.join("rollouts");
                Err(PipelineError::Collapsed { sign, step, rollouts }.into())
            }
        }
    }

    fn comparison(
        &self,
        control: &Control,
        hear: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<()>, crate::Error> {
        let config = &self.sources.config;
        let settings = &config.comparison;
        let chat = self.model.chat_format().ok_or(JudgeError::NoChat)?;
        let prompts = self.sources.compared().spread(settings.limit);
        let prompts: Vec<String> = prompts.into_iter().map(|prompt| prompt.text.clone()).collect();
        let policy =
            config.stages.align.then(|| Adapter::open(&self.folder(Stage::Align), self.model.config()));
        let policy = policy.transpose()?;
        let policy = policy.as_ref().map(|adapter| &adapter.weights);
        let (reward, own) = self.reward_model();
        let context = self.model.config().context.min(GeneratorOptions::default().context);
        let generator = GeneratorOptions { slots: settings.batch, context, ..GeneratorOptions::default() };
        let reading = RewardOptions { any_base: own, ..RewardOptions::default() };
        let mut steered = SteeredModel::open(self.model, policy, Some(&reward), generator, &reading)?;
        self.sources.check_reward_model()?;
        let (principles, interventions) = steering_sets(self.sources.guidelines.clone())?;
        let options = CompareOptions {
            steering: Steering { principles, interventions, tell: Tell::System, ..Steering::default() },
            n: settings.best_of,
            block: settings.block,
            sampling: Sampling {
                temperature: settings.temperature,
                seed: settings.seed,
                ..Sampling::default()
            },
            max_tokens: settings.max_tokens,
            batch: settings.batch,
        };
        let of = prompts.len();
        let mut on_done = |method: &str, done| hear(Event::Comparing { method, done, of });
        let report = compare(&mut steered, chat, &prompts, &options, &control.cancel, &mut on_done)?;
        let json = serde_json::to_vec_pretty(&report).expect("figures are plain values");
        self.write("report.json", &json)?;
        self.write("report.html", report.to_html().as_bytes())?;
        hear(Event::Compared(&report));
        Ok(Some(()))
    }

    /// Path of the reward model, and whether stage 2 trained it on this base.
    fn reward_model(&self) -> (PathBuf, bool) {
        match &self.sources.config.stages.reward_model {
            Some(path) => (path.clone(), false),
            None => (self.folder(Stage::Reward), true),
        }
    }

    /// The folder of an earlier stage.
    fn folder(&self, stage: Stage) -> PathBuf {
        self.root.join(self.done.get(&stage).expect("stages run in their order"))
    }

    /// The adapter of self-alignment, if that stage runs.
    fn aligned(&self) -> Result<Option<Adapter>, crate::Error> {
        if !self.sources.config.stages.self_align {
            return Ok(None);
        }
        Ok(Some(Adapter::open(&self.folder(Stage::SelfAlign), self.model.config())?))
    }

    fn attach(&self, adapter: &Adapter) -> Result<(AdapterBank, AdapterId), crate::Error> {
        let (bank, ids) = AdapterBank::holding(self.model, &[&adapter.weights])?;
        Ok((bank, ids[0]))
    }

    /// The principles that replies are judged under.
    fn principles(&self) -> &PrincipleSet {
        self.sources.principles.as_ref().expect("read where replies are judged")
    }

    /// The judged replies, with their principles.
    fn data(&self) -> Result<RewardData, crate::Error> {
        let comparisons = self.folder(Stage::Preferences).join(COMPARISONS);
        Ok(RewardData::judged_under(&[comparisons], self.principles().clone())?)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PipelineError> {
        let path = self.out.join(name);
        atomic::write(&path, |file| file.write_all(bytes)).map_err(PipelineError::io("write", &path))
    }
}
