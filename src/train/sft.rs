//! Supervised fine-tuning: from a data file to an adapter.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::config::SftConfig;
use super::data::{DataReport, Dataset, Example, Order};
use super::error::TrainError;
use super::learner::{Learner, Unit};
use super::objective::{Evaluated, Objective, Supervised, SupervisedBatch, TokenStats};
use super::pass::Sequence;
use super::plan::Plan;
use super::run::{Lengths, Run, Start};
use super::trainer::{Batch, Control, Progress, Task};
use crate::adapter::{Adapter, RUN_FOLDER};
use crate::generate::{CancelToken, Generator, GeneratorOptions, generator_bytes};
use crate::model::Model;
use crate::model::lora::{AdapterId, LoraLayout};
use crate::ops::KvFormat;
use crate::settings::Settings;

/// A run of supervised fine-tuning.
#[derive(Clone, Copy, Debug)]
pub struct Sft<'a> {
    /// The base, which stays as it is.
    pub model: &'a Model,
    /// Rows to learn from, as [`Dataset::read`] takes them.
    pub data: &'a Path,
    /// Rows to measure on, instead of some of `data`.
    pub held_out: Option<&'a Path>,
    /// The adapter to start from, instead of a fresh one.
    pub init: Option<&'a Adapter>,
    /// Where everything goes: settings, logs, states, and the adapter.
    pub out: &'a Path,
    /// The settings.
    pub config: &'a SftConfig,
    /// Whether to go on from the newest state in `out`, if there is one.
    pub resume: bool,
}

/// What a run is about to do, before its first step.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// What became of the lines of the data file.
    pub report: DataReport,
    /// Rows learned from.
    pub rows: usize,
    /// Rows measured on.
    pub held_out_rows: usize,
    /// Optimizer steps in all.
    pub steps: u64,
    /// Trainable values.
    pub parameters: usize,
    /// Passes, and the device memory that they take.
    pub plan: Plan,
    /// States that were found damaged and passed over.
    pub damaged: Vec<String>,
}

/// Tokens of the sequence by which generation and training are compared.
const COMPARED_TOKENS: usize = 256;

impl Sft<'_> {
    /// Runs it. `announce` hears once what is ahead, `progress` of every step. Where it ends well the
    /// adapter is in `out/adapter`, and that path is returned; after a cancel nothing is, and another
    /// call with `resume` goes on.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Settings`], [`TrainError::Row`], [`TrainError::Data`] before anything is written;
    /// * [`TrainError::Occupied`] if `out` holds a run and `resume` is not set;
    /// * [`TrainError::OtherRun`] if the state to resume from is of other settings, data or base;
    /// * [`TrainError::Memory`] if no plan fits the device;
    /// * those of [`train::run`](super::run()).
    pub fn run(
        &self,
        control: &Control,
        announce: &mut dyn FnMut(&Prospect),
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<PathBuf>, TrainError> {
        let Sft { model, config, .. } = *self;
        config.validate()?;
        let (mut dataset, held_out) = self.read()?;
        let examples = std::mem::take(&mut dataset.examples);
        let run = Run {
            model,
            out: self.out,
            kind: "sft",
            settings: config.run_settings(),
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: dataset.sha256,
            steps: config.total_steps(examples.len()),
            resume: self.resume,
        };
        let weights = match self.init {
            Some(adapter) => adapter.weights.clone(),
            None => config.lora.fresh(model.config(), config.seed)?,
        };
        let longest = examples.iter().chain(&held_out).map(|example| example.ids.len()).max().unwrap_or(2);
        let units = examples.iter().map(|example| example.ids.len()).collect();
        let layout = LoraLayout::new(model.config(), weights.config.rank, weights.config.targets);
        let (tuning, compared) = (model.device().tuning(), comparing(longest));
        let beside = generator_bytes(model.config(), Some(&layout), tuning, &compared);
        let prepared =
            run.prepare(Start { weights, head: None, reference: None }, &Lengths { units, longest }, beside)?;
        announce(&Prospect {
            report: dataset.report,
            rows: examples.len(),
            held_out_rows: held_out.len(),
            steps: run.steps,
            parameters: prepared.parameters(),
            plan: prepared.plan.clone(),
            damaged: prepared.damaged.clone(),
        });
        let (mut learner, adapter, _) = prepared.learner()?;
        let mut task = Rows::new(model, adapter, &examples, &held_out, config);
        let Some(adapter) = prepared.learn(&mut learner, &mut task, control, progress)? else {
            return Ok(None);
        };
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft(&folder)?;
        Ok(Some(folder))
    }

    /// The rows to learn from, with all that is known of their file, and those to measure on.
    fn read(&self) -> Result<(Dataset, Vec<Example>), TrainError> {
        let (model, config) = (self.model, self.config);
        let (text, vocab) = (model.text(), model.config().vocab);
        let mut dataset = Dataset::read(self.data, &text, vocab, &config.data)?;
        let held_out = match self.held_out {
            Some(path) => Dataset::read(path, &text, vocab, &config.data)?.examples,
            None => dataset.split(config.evaluation.held_out, config.seed)?,
        };
        Ok((dataset, held_out))
    }
}

/// The generator that training is compared with.
fn comparing(longest: usize) -> GeneratorOptions {
    let context = longest.min(COMPARED_TOKENS) + 1;
    GeneratorOptions { slots: 1, context, kv: KvFormat::F32, repetition_window: 1 }
}

/// Rows of a data file as a task.
struct Rows<'a> {
    model: &'a Model,
    sequences: Vec<Sequence>,
    held_out: Batch,
    order: Order,
    per_step: usize,
}

impl<'a> Rows<'a> {
    fn new(
        model: &'a Model,
        adapter: AdapterId,
        examples: &[Example],
        held_out: &[Example],
        config: &SftConfig,
    ) -> Self {
        let sequence =
            |example: &Example| Sequence::with_targets(&example.ids, &example.loss_mask, Some(adapter));
        Rows {
            model,
            sequences: examples.iter().map(sequence).collect(),
            held_out: batch(held_out.iter().map(sequence)),
            order: Order::new(config.seed, examples.len()),
            per_step: config.batch.sequences,
        }
    }
}

/// A batch of one sequence a unit, normalised by its targets.
fn batch(sequences: impl Iterator<Item = Sequence>) -> Batch {
    let units: Vec<Unit> = sequences.map(|sequence| vec![sequence]).collect();
    let targets: usize = units.iter().flatten().map(|sequence| sequence.readings.len()).sum();
    Batch { units, normalizer: targets as f64 }
}

impl Task for Rows<'_> {
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError> {
        let first = step * self.per_step as u64;
        let rows: Vec<usize> =
            (first..first + self.per_step as u64).map(|position| self.order.example(position)).collect();
        Ok(batch(rows.into_iter().map(|row| self.sequences[row].clone())))
    }

    fn epochs(&self, step: u64) -> f64 {
        (step * self.per_step as u64) as f64 / self.sequences.len() as f64
    }

    fn held_out(&self) -> &Batch {
        &self.held_out
    }

    fn evaluate(&self, batch: &Batch, _range: Range<usize>, stats: &TokenStats) -> Evaluated {
        let weights = vec![1.0; stats.logprob.len()];
        Supervised.evaluate(stats, &SupervisedBatch { weights, normalizer: batch.normalizer })
    }

    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        Supervised.summarize(loss, metrics)
    }

    fn logprob_distance(&self, learner: &mut Learner) -> Result<Option<f64>, TrainError> {
        let held_out = self.held_out.units.iter().flatten();
        let Some(compared) = held_out.chain(&self.sequences).next() else { return Ok(None) };
        let ids = &compared.ids[..compared.ids.len().min(COMPARED_TOKENS)];
        let adapter = compared.adapter;
        let whole = Sequence::with_targets(ids, &vec![true; ids.len()], adapter);
        let trained = learner.read(&[vec![whole]])?.logprob;
        let mut generator = Generator::with_adapters(self.model, comparing(ids.len()), learner.bank())?;
        let scored =
            generator.token_stats(&[ids.to_vec()], adapter, 1.0, &CancelToken::new())?.swap_remove(0);
        let apart =
            trained.iter().zip(&scored).map(|(ours, theirs)| f64::from((ours - theirs.logprob).abs()));
        Ok(Some(apart.fold(0.0, f64::max)))
    }
}
