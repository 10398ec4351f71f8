//! Supervised fine-tuning: from a data file to an adapter.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::config::{Auto, Recompute, SftConfig};
use super::data::{DataReport, Dataset, Example, Order};
use super::error::TrainError;
use super::learner::{Learner, Unit};
use super::objective::{Evaluated, Objective, Supervised, SupervisedBatch, TokenStats};
use super::optimizer::AdamW;
use super::pass::{PassShape, Sequence};
use super::plan::{Demand, Plan};
use super::schedule::Schedule;
use super::state::{StateMeta, TrainState};
use super::trainer::{self, Batch, Control, Ended, Progress, Task, TrainerOptions};
use crate::adapter::{Adapter, Card, RUN_FOLDER};
use crate::atomic;
use crate::format::Checkpoint;
use crate::generate::{CancelToken, Generator, GeneratorOptions, generator_bytes};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraLayout, LoraWeights};
use crate::ops::KvFormat;

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
    /// * those of [`trainer::run`].
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
        let steps = config.total_steps(examples.len());
        let meta = StateMeta {
            kind: "sft".to_owned(),
            seed: config.seed,
            config_sha256: config.hash(),
            data_sha256: dataset.sha256.clone(),
            base_sha256: base_sha256(model)?,
            ..StateMeta::default()
        };
        let (state, damaged) = self.state(&meta)?;
        let weights = match self.init {
            Some(adapter) => adapter.weights.clone(),
            None => LoraWeights::fresh(config.lora.lora(), model.config(), config.seed)?,
        };
        let longest = examples.iter().chain(&held_out).map(|example| example.ids.len()).max().unwrap_or(2);
        let plan = self.plan(&weights, &examples, longest, state.as_ref())?;
        let lora = weights.config;
        announce(&Prospect {
            report: dataset.report.clone(),
            rows: examples.len(),
            held_out_rows: held_out.len(),
            steps,
            parameters: weights.parameters(),
            plan: plan.clone(),
            damaged,
        });

        let bank = AdapterBank::new(model, lora.rank, lora.targets, 1)?;
        let adapter = bank.attach(&weights, None)?;
        let mut learner = Learner::new(model, &bank, &[adapter], &plan.shape, adamw(config))?;
        let mut meta = StateMeta { extra: shape_entries(&plan.shape), ..meta };
        if let Some(state) = state {
            learner.restore(&state.tensors, state.meta.step)?;
            meta = state.meta;
        }
        self.write_settings()?;
        let mut task = Rows::new(model, adapter, &examples, &held_out, config);
        let options = TrainerOptions {
            folder: self.out.to_owned(),
            steps,
            schedule: Schedule::new(&config.schedule, config.optimizer.learning_rate, steps),
            evaluate_every: config.evaluation.every,
            save_every: config.checkpoint.every,
            keep: config.checkpoint.keep,
            meta,
        };
        let mut last = Vec::new();
        let ended = trainer::run(&mut learner, &mut task, &options, control, &mut |event| {
            if let Progress::Step(metrics) = event {
                last = vec![("train_loss", Some(metrics.loss)), ("eval_loss", metrics.eval_loss)];
                last.push(("logprob_distance", metrics.logprob_distance));
            }
            progress(event);
        })?;
        if ended == Ended::Cancelled {
            return Ok(None);
        }
        let (weights, head) = bank.read(adapter)?;
        let finite = |(name, value): (&str, Option<f64>)| Some((name.to_owned(), value?.into()));
        let card = Card {
            base: model.path().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            base_sha256: Some(options.meta.base_sha256).filter(|hash| !hash.is_empty()),
            seed: Some(config.seed),
            steps: Some(steps),
            data_sha256: Some(dataset.sha256),
            metrics: last.into_iter().filter_map(finite).collect(),
            ..Card::default()
        };
        let folder = self.out.join(RUN_FOLDER);
        Adapter { weights, head, card }.write_peft(&folder)?;
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

    /// The state to go on from, if one is asked for and there, and what was passed over.
    fn state(&self, meta: &StateMeta) -> Result<(Option<TrainState>, Vec<String>), TrainError> {
        let folder = trainer::states(self.out);
        let latest = TrainState::latest(&folder)?;
        let Some((path, state)) = latest.found else {
            return Ok((None, latest.damaged.iter().map(ToString::to_string).collect()));
        };
        if !self.resume {
            return Err(TrainError::Occupied { folder: self.out.to_owned(), step: state.meta.step });
        }
        let found = &state.meta;
        let facts = [
            ("kind of training", &found.kind, &meta.kind),
            ("settings", &found.config_sha256, &meta.config_sha256),
            ("data", &found.data_sha256, &meta.data_sha256),
            ("base model", &found.base_sha256, &meta.base_sha256),
        ];
        if let Some((what, ..)) = facts.into_iter().find(|(_, then, now)| then != now) {
            return Err(TrainError::OtherRun { path, what });
        }
        Ok((Some(state), latest.damaged.iter().map(ToString::to_string).collect()))
    }

    /// Passes that fit the device. A resumed run keeps its own: sums in another order are other sums.
    fn plan(
        &self,
        weights: &LoraWeights,
        examples: &[Example],
        longest: usize,
        state: Option<&TrainState>,
    ) -> Result<Plan, TrainError> {
        let Sft { model, config, .. } = *self;
        let device = model.device();
        let mut lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let most = |sequences: usize| lengths.iter().take(sequences).sum::<usize>().max(longest);
        let step_tokens = match config.batch.micro_batch {
            Auto::Auto => most(config.batch.sequences),
            Auto::Fixed(sequences) => most(sequences.min(config.batch.sequences)),
        };
        let lora = weights.config;
        let layout = LoraLayout::new(model.config(), lora.rank, lora.targets);
        let demand = Demand {
            model: model.config(),
            weight_bytes: model.weight_bytes(),
            rank: lora.rank,
            targets: lora.targets,
            adapters: 1,
            trainable: 1,
            step_tokens,
            longest,
            beside_bytes: generator_bytes(
                model.config(),
                Some(&layout),
                device.tuning(),
                &comparing(longest),
            ),
            max_binding_bytes: device.capabilities().max_binding_bytes,
        };
        if let Some(shape) = state.and_then(|state| saved_shape(&state.meta, longest)) {
            return Ok(Plan::count(&demand, shape));
        }
        let budget = match config.memory.budget_mib {
            Auto::Fixed(mib) => (mib as u64) << 20,
            Auto::Auto => device.capabilities().memory_bytes.unwrap_or(u64::MAX),
        };
        match config.memory.recompute {
            Recompute::Auto => Plan::fit(&demand, budget),
            Recompute::Never => Plan::fit_keeping(&demand, budget, model.config().layers),
            Recompute::Always => Plan::fit_keeping(&demand, budget, 0),
        }
    }

    /// The settings of the run, beside what they made.
    fn write_settings(&self) -> Result<(), TrainError> {
        let path = self.out.join("sft.toml");
        let text = self.config.to_toml();
        let io = |action| TrainError::io(action, &path);
        std::fs::create_dir_all(self.out).map_err(TrainError::io("create", self.out))?;
        atomic::write(&path, |file| std::io::Write::write_all(file, text.as_bytes())).map_err(io("write"))
    }
}

fn base_sha256(model: &Model) -> Result<String, TrainError> {
    match model.path() {
        Some(path) => Ok(Checkpoint::open(path)?.content_hash()?),
        None => Ok(String::new()),
    }
}

fn adamw(config: &SftConfig) -> AdamW {
    let optimizer = config.optimizer;
    AdamW {
        beta1: optimizer.betas[0],
        beta2: optimizer.betas[1],
        eps: optimizer.eps,
        weight_decay: optimizer.weight_decay,
        max_grad_norm: Some(optimizer.max_grad_norm).filter(|norm| norm.is_finite()),
    }
}

fn shape_entries(shape: &PassShape) -> std::collections::BTreeMap<String, f64> {
    let entries =
        [("rows", shape.rows), ("kept_layers", shape.kept_layers), ("logit_rows", shape.logit_rows)];
    entries.map(|(name, value)| (name.to_owned(), value as f64)).into()
}

fn saved_shape(meta: &StateMeta, longest: usize) -> Option<PassShape> {
    let entry = |name: &str| meta.extra.get(name).map(|&value| value as usize);
    Some(PassShape {
        rows: entry("rows")?,
        longest,
        kept_layers: entry("kept_layers")?,
        logit_rows: entry("logit_rows")?,
    })
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
    fn batch(&mut self, step: u64) -> Batch {
        let first = step * self.per_step as u64;
        let rows: Vec<usize> =
            (first..first + self.per_step as u64).map(|position| self.order.example(position)).collect();
        batch(rows.into_iter().map(|row| self.sequences[row].clone()))
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
        let scored = generator.token_stats(&[ids.to_vec()], adapter, &CancelToken::new())?.swap_remove(0);
        let apart =
            trained.iter().zip(&scored).map(|(ours, theirs)| f64::from((ours - theirs.logprob).abs()));
        Ok(Some(apart.fold(0.0, f64::max)))
    }
}
