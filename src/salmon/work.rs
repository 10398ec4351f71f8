//! The work of each stage.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::sources::steering_sets;
use super::{PipelineError, Sources, Stage, StageStatus};
use crate::adapter::Adapter;
use crate::align::{Align, AlignPrompts, Guidelines, Outcome, RewardRole};
use crate::atomic;
use crate::file::AtFile;
use crate::generate::{GeneratorOptions, Sampling};
use crate::judge::{AdaptedModel, JudgeError, PreferenceReport, PreferenceRun};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::principles::PrincipleSet;
use crate::reward::{
    EvaluateOptions, RewardData, RewardModel, RewardOptions, RewardReport, RewardTraining, evaluate,
};
use crate::self_align::{SelfAlign, SelfAlignReport};
use crate::steer::compare::{CompareOptions, ComparisonReport, compare};
use crate::steer::{SteeredModel, Steering, Tell};
use crate::train::{self, Control, Count, Items};

/// An event of a pipeline.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage is next. It runs unless its status is [`StageStatus::Done`].
    Stage {
        /// The stage.
        stage: Stage,
        /// Its number, from 1.
        number: usize,
        /// Number of stages.
        of: usize,
        /// Its status.
        status: &'a StageStatus,
        /// Its folder.
        folder: &'a Path,
    },
    /// An event of the run that the stage consists of.
    Run(train::Event<'a>),
    /// The answers of self-alignment are sampled and filtered; training on them is next.
    Answered(&'a SelfAlignReport),
    /// The preferences are collected.
    Judged(&'a PreferenceReport),
    /// The reward model is evaluated.
    Evaluated(&'a RewardReport),
    /// The steering methods are compared.
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
    /// Runs `stage`.
    pub fn run(
        &self,
        stage: Stage,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), PipelineError> {
        let done = match stage {
            Stage::SelfAlign => self.self_align(control, on_event),
            Stage::Preferences => self.preferences(control, on_event),
            Stage::Reward => self.reward(control, on_event),
            Stage::Evaluation => self.evaluation(control, on_event),
            Stage::Align => self.align(control, on_event),
            Stage::Comparison => self.comparison(control, on_event),
        };
        match done {
            Err(crate::Error::Pipeline(error)) => Err(error),
            done => done.map_err(PipelineError::at(stage)),
        }
    }

    fn self_align(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), crate::Error> {
        let (rules, exemplars) = self.sources.rules.as_ref().expect("read where this is a stage");
        let run = SelfAlign::new(self.model, &self.sources.prompts, (rules, exemplars), self.out);
        let run = run.config(&self.sources.config.self_align).resume(true);
        let report = run.sample(control, &mut |event| on_event(Event::Run(event)))?;
        on_event(Event::Answered(&report));
        run.distill(control, &mut |event| on_event(Event::Run(event)))?;
        Ok(())
    }

    fn preferences(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), crate::Error> {
        let attached = self.aligned()?.map(|adapter| self.attach(&adapter)).transpose()?;
        let adapter = attached.as_ref().map(|(bank, id)| (bank, *id));
        let model = AdaptedModel { adapter, ..AdaptedModel::base(self.model) };
        let (prompts, out) = (&self.sources.prompts, self.out.join(COMPARISONS));
        let run = PreferenceRun::new(model, prompts, self.principles(), out);
        let run = run.config(&self.sources.config.preferences);
        let report = run.run(control, &mut |event| on_event(Event::Run(event)))?;
        on_event(Event::Judged(&report));
        Ok(())
    }

    fn reward(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), crate::Error> {
        let (aligned, data) = (self.aligned()?, self.data()?);
        let mut training = RewardTraining::new(self.model, &data, self.out);
        training = training.config(&self.sources.config.reward).resume(true);
        if let Some(adapter) = &aligned {
            training = training.init(adapter, Stage::SelfAlign.name());
        }
        training.run(control, &mut |event| on_event(Event::Run(event)))?;
        Ok(())
    }

    fn evaluation(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), crate::Error> {
        let measure = self.sources.config.evaluation;
        let options = RewardOptions { slots: measure.batch, any_base: false };
        let mut reward = RewardModel::open(self.model, &self.folder(Stage::Reward), &options)?;
        let options = EvaluateOptions {
            aggregate: self.sources.config.reward.aggregate.clone(),
            everything: false,
            limit: Some(measure.limit).filter(|limit| *limit > 0),
        };
        let mut on_run = |event: train::Event<'_>| on_event(Event::Run(event));
        let report = evaluate(&mut reward, &self.data()?, &options, &control.cancel, &mut on_run)?;
        let json = serde_json::to_vec_pretty(&report).expect("figures are plain values");
        self.write("report.json", &json)?;
        #[cfg(feature = "html")]
        self.write("report.html", report.to_html().as_bytes())?;
        on_event(Event::Evaluated(&report));
        Ok(())
    }

    fn align(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), crate::Error> {
        let config = &self.sources.config;
        self.model.check_chat()?;
        let chat = self.model.chat_format().ok_or(JudgeError::NoChat)?;
        let aligned = self.aligned()?;
        let (path, own) = self.reward_model();
        self.sources.check_reward_model()?;
        let longest = config.align.rollout.max_prompt_tokens;
        let prompts = AlignPrompts::new(&self.sources.prompts, chat, longest)?;
        let guidelines = Guidelines::new(self.sources.guidelines.clone());
        let run = Align::new(self.model, &prompts, &guidelines, self.out)
            .config(&config.align)
            .init(aligned.as_ref())
            .reward(RewardRole::open(self.model, &path, own)?)
            .resume(true);
        match run.run(control, &mut |event| on_event(Event::Run(event)))? {
            Outcome::Done(_) => Ok(()),
            Outcome::Collapsed { sign, step, .. } => {
                let rollouts = self.out.join("rollouts");
                Err(PipelineError::Collapsed { sign, step, rollouts }.into())
            }
        }
    }

    fn comparison(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), crate::Error> {
        let config = &self.sources.config;
        let settings = &config.comparison;
        self.model.check_chat()?;
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
                temperature: settings.temperature as f32,
                seed: settings.seed,
                ..Sampling::default()
            },
            max_tokens: settings.max_tokens,
            batch: settings.batch,
            methods: settings.methods.clone(),
        };
        let mut on_done = |method: &str, done| {
            let count = Count::new(Items::Method(method), done, prompts.len());
            on_event(Event::Run(train::Event::Counted(count)));
        };
        let report = compare(&mut steered, chat, &prompts, &options, &control.cancel, &mut on_done)?;
        let json = serde_json::to_vec_pretty(&report).expect("figures are plain values");
        self.write("report.json", &json)?;
        #[cfg(feature = "html")]
        self.write("report.html", report.to_html().as_bytes())?;
        on_event(Event::Compared(&report));
        Ok(())
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
