//! Parts that all training runs share: the state to resume from, the passes that fit the device, the loop,
//! and the adapter with its card.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::{Recompute, RunSettings};
use super::error::TrainError;
use super::event::{DataSummary, Event, RunPlan};
use super::learner::Learner;
use super::metrics::last_record;
use super::optimizer::AdamW;
use super::pass::PassShape;
use super::plan::{Demand, Plan};
use super::schedule::Schedule;
use super::state::{StateMeta, TrainState};
use super::trainer::{self, Control, METRICS_FILE, Task, TrainerOptions};
use crate::adapter::{Adapter, Card};
use crate::atomic;
use crate::file::AtFile;
use crate::lock::FolderLock;
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraWeights, ScalarHead};
use crate::output;
use crate::settings::Auto;

/// A training run, before its device memory is planned.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// The base, which is not changed.
    pub model: &'a Model,
    /// Folder for all output.
    pub out: &'a Path,
    /// Kind of training. It names the states and the settings file.
    pub kind: &'static str,
    /// Settings that all kinds of training share.
    pub settings: RunSettings,
    /// All settings, as the text of a TOML file.
    pub toml: String,
    /// Hash of all settings that the weights depend on.
    pub config_sha256: String,
    /// Hash of all training data.
    pub data_sha256: String,
    /// Number of optimizer steps.
    pub steps: u64,
    /// Whether to resume from the newest state in `out`, if there is one.
    pub resume: bool,
}

/// Initial values of a run: factors, and a head if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub weights: LoraWeights,
    pub head: Option<ScalarHead>,
    /// Reference adapter, which is not trained.
    pub reference: Option<LoraWeights>,
}

impl Start {
    /// Number of slots in the bank.
    fn adapters(&self) -> usize {
        1 + usize::from(self.reference.is_some())
    }
}

/// Lengths of the training data.
#[derive(Clone, Debug)]
pub(crate) struct Lengths {
    /// Number of tokens of each unit that may be in a step.
    pub units: Vec<usize>,
    /// Number of tokens of the longest unit, held-out units included.
    pub longest: usize,
}

/// A run whose passes fit the device, before its first allocation.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    run: &'a Run<'a>,
    start: Start,
    meta: StateMeta,
    state: Option<TrainState>,
    plan: Plan,
    damaged: Vec<String>,
}

impl Run<'_> {
    /// Finds the state to resume from, and passes that fit the device. Something else uses `beside_bytes` of
    /// its memory. Nothing is written.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Settings`] if a step would take many more units than there are;
    /// * [`TrainError::Io`] if `out` holds something that is no run;
    /// * [`TrainError::Occupied`] if `out` contains a run and `resume` is not set;
    /// * [`TrainError::Damaged`] if all saved states of the run in `out` are damaged;
    /// * [`TrainError::OtherRun`] if the state to resume from belongs to other settings, other data or
    ///   another base;
    /// * [`TrainError::Memory`] if no plan fits the device.
    pub fn prepare(
        &self,
        start: Start,
        lengths: &Lengths,
        beside_bytes: u64,
    ) -> Result<Prepared<'_>, TrainError> {
        self.settings.check_batch(lengths.units.len(), "rows or pairs")?;
        let meta = self.meta()?;
        let (state, damaged) = self.state(&meta)?;
        let plan = self.plan(&start.weights, start.adapters(), lengths, beside_bytes, state.as_ref())?;
        Ok(Prepared { run: self, start, meta, state, plan, damaged })
    }

    /// `Ok` if the folder is new, empty, or the folder of a run.
    pub fn check_folder(&self) -> Result<(), TrainError> {
        output::check_folder(self.out).map_err(TrainError::io("write to", self.out))
    }

    /// Metadata of the run before its first step: its kind, its seed, and hashes of its inputs.
    pub fn meta(&self) -> Result<StateMeta, TrainError> {
        Ok(StateMeta {
            kind: self.kind.to_owned(),
            seed: self.settings.seed,
            config_sha256: self.config_sha256.clone(),
            data_sha256: self.data_sha256.clone(),
            base_sha256: base_sha256(self.model)?,
            ..StateMeta::default()
        })
    }

    /// The state to resume from, if there is one, and a message for each damaged state that was skipped.
    pub fn state(&self, meta: &StateMeta) -> Result<(Option<TrainState>, Vec<String>), TrainError> {
        self.check_folder()?;
        let folder = trainer::states(self.out);
        let latest = TrainState::latest(&folder)?;
        let damaged: Vec<String> = latest.damaged.iter().map(ToString::to_string).collect();
        let Some((path, state)) = latest.found else {
            // A run from step 0 would remove what is left of this one.
            if !damaged.is_empty() {
                return Err(TrainError::Damaged { folder: self.out.to_owned(), states: damaged });
            }
            return Ok((None, damaged));
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
        Ok((Some(state), damaged))
    }

    /// Passes that fit the device. A resumed run keeps the passes of its state, because sums in another order
    /// round differently.
    fn plan(
        &self,
        weights: &LoraWeights,
        adapters: usize,
        lengths: &Lengths,
        beside_bytes: u64,
        state: Option<&TrainState>,
    ) -> Result<Plan, TrainError> {
        let (batch, model) = (&self.settings.batch, self.model);
        let mut units = lengths.units.clone();
        units.sort_unstable_by(|a, b| b.cmp(a));
        let most = |count: usize| units.iter().take(count).sum::<usize>().max(lengths.longest);
        let step_tokens = match batch.micro_batch {
            Auto::Auto => most(batch.sequences),
            Auto::Fixed(count) => most(count.min(batch.sequences)),
        };
        let learning_layers = model.config().layers.len() - weights.first_layer();
        let demand = Demand {
            model: model.config(),
            model_bytes: model.device_bytes(),
            rank: weights.config.rank,
            targets: weights.config.targets,
            adapters,
            trainable: 1,
            learning_layers,
            step_tokens,
            longest: lengths.longest,
            beside_bytes,
            max_binding_bytes: model.device().capabilities().max_binding_bytes,
        };
        self.fit(&demand, state)
    }

    /// The passes of `state`. Without a state, passes for `demand` that fit the device under the memory
    /// settings.
    pub fn fit(&self, demand: &Demand<'_>, state: Option<&TrainState>) -> Result<Plan, TrainError> {
        let memory = &self.settings.memory;
        let (device, layers) = (self.model.device(), self.model.config().layers.len());
        if let Some(shape) = state.and_then(|state| saved_shape(&state.meta, demand)) {
            return Ok(Plan::count(demand, shape));
        }
        let budget = match memory.budget_mib {
            Auto::Fixed(mib) => (mib as u64) << 20,
            Auto::Auto => device.capabilities().memory_bytes.unwrap_or(u64::MAX),
        };
        match memory.recompute {
            Recompute::Auto => Plan::fit(demand, budget),
            Recompute::Never => Plan::fit_keeping(demand, budget, layers),
            Recompute::Always => Plan::fit_keeping(demand, budget, 0),
        }
    }

    /// Locks the folder for as long as the returned lock lives, and writes the settings into the folder.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Busy`] if another run uses the folder: two runs would mix their files;
    /// * [`TrainError::Io`] if the folder cannot be created or written to.
    pub fn begin(&self) -> Result<FolderLock, TrainError> {
        self.check_folder()?;
        let lock = FolderLock::take(self.out).map_err(TrainError::io("lock", self.out))?;
        let lock = lock.ok_or_else(|| TrainError::Busy { folder: self.out.to_owned() })?;
        output::claim_folder(self.out).map_err(TrainError::io("write to", self.out))?;
        let path = self.out.join(format!("{}.toml", self.kind));
        // The same settings may be the settings file that the run was started with, with its comments.
        let values = |text: &str| text.parse::<toml::Table>().ok();
        if std::fs::read_to_string(&path).is_ok_and(|found| values(&found) == values(&self.toml)) {
            return Ok(lock);
        }
        let text = settings_file(&self.toml);
        atomic::write(&path, |file| std::io::Write::write_all(file, text.as_bytes()))
            .map_err(TrainError::io("write", &path))?;
        Ok(lock)
    }
}

impl Prepared<'_> {
    /// The plan of the run, for [`Event::Planned`]. The run trains on `count` units of `data` and is
    /// evaluated on `held_out` units.
    pub fn run_plan(&self, data: DataSummary, count: usize, held_out: usize) -> RunPlan {
        let Start { weights, head, .. } = &self.start;
        let head = head.as_ref().map_or(0, |head| head.weight.len() + 1);
        RunPlan {
            held_out,
            steps: Some(self.run.steps),
            parameters: weights.parameters() + head,
            adapters: self.start.adapters(),
            memory: Some(self.plan.clone()),
            damaged: self.damaged.clone(),
            ..RunPlan::untrained(count, data)
        }
    }

    /// Puts the adapter onto the device, with the values of the state if there is one. The reference adapter,
    /// which has the same shape, takes the next slot.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Device`] if the device cannot hold the run, although the plan fits;
    /// * [`TrainError::Resume`] if the state belongs to another adapter.
    pub fn learner(&self) -> Result<(Learner, AdapterId, Option<AdapterId>), TrainError> {
        let Start { weights, head, reference } = &self.start;
        let (model, places) = (self.run.model, self.start.adapters());
        let bank = AdapterBank::new(model, weights.config.rank, weights.config.targets, places)?;
        let adapter = bank.attach(weights, head.as_ref())?;
        let reference = reference.as_ref().map(|weights| bank.attach(weights, None)).transpose()?;
        let settings = adamw(&self.run.settings);
        let mut learner = Learner::new(model, &bank, &[adapter], &self.plan.shape, settings)?;
        if let Some(state) = &self.state {
            learner.restore(&state.tensors, state.meta.step)?;
        }
        Ok((learner, adapter, reference))
    }

    /// Runs `task` to its last step and returns the adapter with its card.
    ///
    /// # Errors
    ///
    /// Those of [`trainer::run`].
    pub fn learn(
        &self,
        learner: &mut Learner,
        task: &mut dyn Task,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Adapter, TrainError> {
        let RunSettings { seed, optimizer, schedule, evaluation, checkpoint, .. } = &self.run.settings;
        let _lock = self.run.begin()?;
        let meta = match &self.state {
            Some(state) => state.meta.clone(),
            None => StateMeta { extra: shape_entries(&self.plan.shape), ..self.meta.clone() },
        };
        let steps = self.run.steps;
        let options = TrainerOptions {
            folder: self.run.out.to_owned(),
            steps,
            schedule: Schedule::new(schedule, optimizer.learning_rate, steps),
            evaluate_every: evaluation.every,
            save_every: checkpoint.every,
            keep: checkpoint.keep,
            meta,
        };
        trainer::run(learner, task, &options, control, on_event)?;
        // Read from the log and not from events, so that a run without remaining steps writes the same card.
        let last = last_record(&self.run.out.join(METRICS_FILE))?.unwrap_or_default();
        let (weights, head) = learner.bank().read(learner.learning()[0])?;
        let card = Card {
            base: self.run.model.path().and_then(file_name),
            base_sha256: Some(options.meta.base_sha256).filter(|hash| !hash.is_empty()),
            seed: Some(*seed),
            steps: Some(learner.steps()),
            data_sha256: Some(self.run.data_sha256.clone()),
            metrics: last
                .into_iter()
                .filter_map(|(name, value)| Some((figure_name(&name)?, value)))
                .collect(),
            ..Card::default()
        };
        Ok(Adapter { weights, head, card })
    }
}

/// The text of a settings file in the folder of a run.
pub(crate) fn settings_file(toml: &str) -> String {
    format!("# Written by parr: the settings of the run in this folder.\n{toml}")
}

/// Name in the card of a figure of the last step; none if the card does not contain it.
fn figure_name(tag: &str) -> Option<String> {
    match tag {
        "train/loss" => Some("train_loss".to_owned()),
        "train/logprob_distance" => Some("logprob_distance".to_owned()),
        _ => tag.strip_prefix("eval/").map(|name| format!("eval_{}", name.replace('/', "_"))),
    }
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Hash of the base's contents; empty for a base that was not read from a file.
pub(crate) fn base_sha256(model: &Model) -> Result<String, TrainError> {
    Ok(model.content_hash()?.unwrap_or_default().to_owned())
}

/// The optimizer that the settings describe.
pub(crate) fn adamw(settings: &RunSettings) -> AdamW {
    let optimizer = settings.optimizer;
    AdamW {
        beta1: optimizer.betas[0],
        beta2: optimizer.betas[1],
        eps: optimizer.eps,
        weight_decay: optimizer.weight_decay,
        max_grad_norm: Some(optimizer.max_grad_norm).filter(|norm| norm.is_finite()),
    }
}

/// Entries of a state that describe the passes, so that a resumed run has the same passes.
pub(crate) fn shape_entries(shape: &PassShape) -> BTreeMap<String, f64> {
    let entries =
        [("rows", shape.rows), ("kept_layers", shape.kept_layers), ("logit_rows", shape.logit_rows)];
    entries.map(|(name, value)| (name.to_owned(), value as f64)).into()
}

fn saved_shape(meta: &StateMeta, demand: &Demand<'_>) -> Option<PassShape> {
    let entry = |name: &str| meta.extra.get(name).map(|&value| value as usize);
    Some(PassShape {
        rows: entry("rows")?,
        longest: demand.longest,
        learning_layers: demand.learning_layers,
        kept_layers: entry("kept_layers")?,
        logit_rows: entry("logit_rows")?,
    })
}
