//! Supervised fine-tuning: from rows of text to an adapter.

use std::ops::Range;
use std::path::PathBuf;

use super::config::SftConfig;
use super::data::{Dataset, Example, Order, Rows};
use super::error::TrainError;
use super::event::{DataSummary, Event, RunPlan};
use super::learner::{Learner, Unit};
use super::objective::{Evaluated, Objective, Supervised, SupervisedBatch, TokenStats};
use super::pass::Sequence;
use super::recover::recovering;
use super::run::{Lengths, Run, Start};
use super::trainer::{Batch, Control, Task};
use crate::adapter::{Adapter, RUN_FOLDER};
use crate::generate::{CancelToken, Generator, GeneratorOptions, generator_bytes};
use crate::model::Model;
use crate::model::lora::{AdapterId, LoraLayout};
use crate::ops::KvFormat;
use crate::settings::Settings;

/// A run of supervised fine-tuning: an adapter on a frozen base, trained on rows of text.
///
/// ```no_run
/// use parr::Model;
/// use parr::settings::Auto;
/// use parr::train::{Control, Event, Row, Sft, SftConfig};
///
/// let model = Model::open("smollm2")?;
/// let rows = vec![Row::pair("Hi", "Ahoy!"), Row::pair("Who are you?", "The harbour master.")];
/// let config = SftConfig { steps: Auto::Fixed(60), ..SftConfig::default() };
/// let adapter = Sft::new(&model, rows, "runs/harbour").config(&config).resume(true).run(
///     &Control::default(),
///     &mut |event| {
///         if let Event::Step(step) = event {
///             println!("step {}", step.number());
///         }
///     },
/// )?;
/// println!("the adapter is in {}", adapter.display());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sft<'a> {
    model: &'a Model,
    data: Rows,
    held_out: Option<Rows>,
    init: Option<&'a Adapter>,
    out: PathBuf,
    config: SftConfig,
    resume: bool,
}

/// Maximum number of tokens of the sequence on which generation and training are compared.
const COMPARED_TOKENS: usize = 256;

impl<'a> Sft<'a> {
    /// A run that trains on `data`, a file or rows in memory. It writes settings, logs, states and the
    /// adapter to the folder `out`. It starts from a fresh adapter, with default settings, and does not
    /// resume.
    pub fn new(model: &'a Model, data: impl Into<Rows>, out: impl Into<PathBuf>) -> Sft<'a> {
        let (data, out) = (data.into(), out.into());
        Sft { model, data, held_out: None, init: None, out, config: SftConfig::default(), resume: false }
    }

    /// Sets the settings.
    #[must_use]
    pub fn config(self, config: &SftConfig) -> Self {
        Sft { config: config.clone(), ..self }
    }

    /// Evaluates on these rows, instead of on held-out rows of the data.
    #[must_use]
    pub fn held_out(self, rows: impl Into<Rows>) -> Self {
        Sft { held_out: Some(rows.into()), ..self }
    }

    /// Starts from this adapter, instead of a fresh one.
    #[must_use]
    pub fn init(self, adapter: impl Into<Option<&'a Adapter>>) -> Self {
        Sft { init: adapter.into(), ..self }
    }

    /// Whether to resume from the newest state in the folder, if there is one.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        Sft { resume, ..self }
    }

    /// Runs the training and reports to `on_event`. Returns the folder of the adapter, which is `adapter` in
    /// the run's folder.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Cancelled`] after a cancel: the state is saved, and a call with [`Sft::resume`]
    ///   resumes the run;
    /// * [`TrainError::Settings`], [`TrainError::Row`] or [`TrainError::Data`] if settings or data are wrong;
    ///   nothing is written then;
    /// * [`TrainError::Occupied`] if the folder contains a run and `resume` is not set;
    /// * [`TrainError::OtherRun`] if the state to resume from belongs to other settings, other data or
    ///   another base;
    /// * [`TrainError::Memory`] if no plan fits the device;
    /// * those of [`train::run`](super::run()).
    pub fn run(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<PathBuf, TrainError> {
        self.config.validate()?;
        recovering(self.model, on_event, |again, on_event| {
            self.attempt(self.resume || again, control, on_event)
        })
    }

    fn attempt(
        &self,
        resume: bool,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, TrainError> {
        let (model, config) = (self.model, &self.config);
        let (mut dataset, held_out) = self.read()?;
        let examples = std::mem::take(&mut dataset.examples);
        let run = Run {
            model,
            out: &self.out,
            kind: "sft",
            settings: config.run_settings(),
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: dataset.sha256,
            steps: config.total_steps(examples.len()),
            resume,
        };
        let weights = match self.init {
            Some(adapter) => {
                adapter.check_speaks()?;
                adapter.weights.clone()
            }
            None => config.lora.fresh(model.config(), config.seed)?,
        };
        let longest = examples.iter().chain(&held_out).map(|example| example.ids.len()).max().unwrap_or(2);
        let units = examples.iter().map(|example| example.ids.len()).collect();
        let layout = LoraLayout::new(model.config(), weights.config.rank, weights.config.targets);
        let (tuning, compared) = (model.device().tuning(), comparing(longest));
        let beside = generator_bytes(model.config(), Some(&layout), tuning, &compared);
        let prepared =
            run.prepare(Start { weights, head: None, reference: None }, &Lengths { units, longest }, beside)?;
        let left_out = dataset.report.dropped.len();
        let plan = prepared.run_plan(DataSummary::Rows(dataset.report), examples.len(), held_out.len());
        on_event(Event::Planned(&RunPlan { left_out, ..plan }));
        let (mut learner, adapter, _) = prepared.learner()?;
        let mut task = Examples::new(model, adapter, &examples, &held_out, config);
        let adapter = prepared.learn(&mut learner, &mut task, control, on_event)?;
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft(&folder)?;
        Ok(folder)
    }

    /// Reads the training rows and the held-out rows.
    fn read(&self) -> Result<(Dataset, Vec<Example>), TrainError> {
        let (model, config) = (self.model, &self.config);
        let (text, vocab) = (model.text(), model.config().vocab);
        let mut dataset = self.data.read(text, vocab, &config.data)?;
        let held_out = match &self.held_out {
            Some(rows) => rows.read(text, vocab, &config.data)?.examples,
            None => dataset.split(config.evaluation.held_out, config.seed)?,
        };
        Ok((dataset, held_out))
    }
}

/// Options of the generator with which training is compared.
fn comparing(longest: usize) -> GeneratorOptions {
    let context = longest.min(COMPARED_TOKENS) + 1;
    GeneratorOptions { slots: 1, context, kv: KvFormat::F32, repetition_window: 1 }
}

/// The training task on rows.
struct Examples<'a> {
    model: &'a Model,
    sequences: Vec<Sequence>,
    held_out: Batch,
    order: Order,
    per_step: usize,
}

impl<'a> Examples<'a> {
    fn new(
        model: &'a Model,
        adapter: AdapterId,
        examples: &[Example],
        held_out: &[Example],
        config: &SftConfig,
    ) -> Self {
        let sequence =
            |example: &Example| Sequence::with_targets(&example.ids, &example.loss_mask, Some(adapter));
        Examples {
            model,
            sequences: examples.iter().map(sequence).collect(),
            held_out: batch(held_out.iter().map(sequence)),
            order: Order::new(config.seed, examples.len()),
            per_step: config.batch.sequences,
        }
    }
}

/// A batch with one sequence per unit, normalised by its number of targets.
fn batch(sequences: impl Iterator<Item = Sequence>) -> Batch {
    let units: Vec<Unit> = sequences.map(|sequence| vec![sequence]).collect();
    let targets: usize = units.iter().flatten().map(|sequence| sequence.readings.len()).sum();
    Batch { units, normalizer: targets as f64, ..Batch::default() }
}

impl Task for Examples<'_> {
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
