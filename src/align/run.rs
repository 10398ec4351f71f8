//! A run that trains an adapter on prompts, principles and rewards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::AlignConfig;
use super::reward_role::options;
use super::roles::{InitialAdapters, Roles};
use super::rollout::Sampler;
use super::steps::{KL_COEFFICIENT, PLANNED, Stepped, Steps, UNIT_REPLIES, UPDATES};
use super::units::tokens;
use super::workers::{Remote, RemoteReward, Workers, setup};
use super::{AlignError, AlignPrompts, Guidelines, ModelReward, RewardRole, RolloutConfig};
use crate::adapter::{Adapter, Card, RUN_FOLDER};
use crate::align::estimate::{
    Collapse, KlController, LanguageMatch, LengthTerm, RewardSource, RewardSum, Watch,
};
use crate::file::hex;
use crate::generate::{CancelToken, Generator, GeneratorOptions, generator_bytes};
use crate::model::Model;
use crate::ops::KvFormat;
use crate::reward::RewardModel;
use crate::settings::Faults;
use crate::settings::Settings;
use crate::train::state::StateMeta;
use crate::train::{
    Control, DataSummary, Demand, Event, Learner, Plan, Run, RunPlan, TrainError, TrainState, adamw,
    file_name, recovering, shape_entries,
};

/// A run that aligns a policy by reinforcement learning. The policy is an adapter on a frozen base, and is
/// trained on rewards for its own replies.
///
/// ```no_run
/// use std::time::Duration;
///
/// use parr::align::{Align, AlignPrompts, Guidelines, Outcome};
/// use parr::align::estimate::FnSource;
/// use parr::Model;
/// use parr::train::Control;
///
/// let model = Model::open("smollm2")?;
/// let chat = model.chat_format().expect("a model that chats");
/// let prompts = AlignPrompts::of(["Name a river.", "Why is the sky blue?"], chat, 128)?;
/// // Rewards short replies. To use a reward model, call `Align::reward`.
/// let brief = FnSource::new("brief", |reply| -(reply.tokens.len() as f64));
/// let outcome = Align::new(&model, &prompts, &Guidelines::default(), "runs/brief")
///     .source(brief)
///     .budget(Duration::from_secs(600))
///     .run(&Control::default(), &mut |_| {})?;
/// if let Outcome::Done(adapter) = outcome {
///     println!("the adapter is in {}", adapter.display());
/// }
/// # Ok::<(), parr::Error>(())
/// ```
pub struct Align<'a> {
    model: &'a Model,
    prompts: &'a AlignPrompts,
    guidelines: &'a Guidelines,
    init: Option<&'a Adapter>,
    reward: Option<RewardRole<'a>>,
    sources: Vec<Box<dyn RewardSource + 'a>>,
    out: PathBuf,
    config: AlignConfig,
    budget: Option<Duration>,
    resume: bool,
    workers: Option<Rc<RefCell<dyn Workers + 'a>>>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps are done. Holds the folder of the adapter.
    Done(PathBuf),
    /// The policy collapsed, and the run was stopped.
    Collapsed {
        /// The sign of the collapse.
        sign: Collapse,
        /// The step whose rollout showed the collapse. The policy was not updated in this step.
        step: u64,
        /// The folder of the adapter, as it was before this step.
        adapter: PathBuf,
    },
}

/// Maximum number of tokens of a pass. More tokens do not make the kernels faster, and need more memory.
const MOST_ROWS: usize = 1024;
/// Maximum number of replies sampled at the same time.
const MOST_SLOTS: usize = 64;

impl<'a> Align<'a> {
    /// A run that samples replies to `prompts` and scores them under principles drawn from `guidelines`. It
    /// writes settings, logs, states, rollouts and the adapter to the folder `out`. It needs a source of
    /// rewards: [`Align::reward`], [`Align::source`], or one of the settings. By default, the policy starts
    /// as the base, settings have their default values, and the run does not resume.
    pub fn new(
        model: &'a Model,
        prompts: &'a AlignPrompts,
        guidelines: &'a Guidelines,
        out: impl Into<PathBuf>,
    ) -> Align<'a> {
        Align {
            model,
            prompts,
            guidelines,
            init: None,
            reward: None,
            sources: Vec::new(),
            out: out.into(),
            config: AlignConfig::default(),
            budget: None,
            resume: false,
            workers: None,
        }
    }

    /// Sets the settings.
    #[must_use]
    pub fn config(self, config: &AlignConfig) -> Self {
        Align { config: config.clone(), ..self }
    }

    /// Starts the policy from this adapter. The adapter is also the reference.
    #[must_use]
    pub fn init(self, adapter: impl Into<Option<&'a Adapter>>) -> Self {
        Align { init: adapter.into(), ..self }
    }

    /// Scores replies with this reward model. Its source is named `reward_model`.
    #[must_use]
    pub fn reward(self, model: impl Into<Option<RewardRole<'a>>>) -> Self {
        Align { reward: model.into(), ..self }
    }

    /// Adds a source of rewards. The settings add the sources `length` and `language`.
    #[must_use]
    pub fn source(mut self, source: impl RewardSource + 'a) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// Sets a time budget. The number of steps is then computed from the duration of the first step, and
    /// overrides the settings.
    #[must_use]
    pub fn budget(self, time: impl Into<Option<Duration>>) -> Self {
        Align { budget: time.into(), ..self }
    }

    /// Sets whether the run resumes from the newest state in the folder, if there is one.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        Align { resume, ..self }
    }

    /// Lets `workers` sample, score, read and compute gradients. This process keeps the state of the run: it joins their
    /// results, takes the optimizer steps and writes the files, so that a run can resume with or without workers.
    #[must_use]
    pub fn workers(self, workers: impl Workers + 'a) -> Self {
        Align { workers: Some(Rc::new(RefCell::new(workers))), ..self }
    }

    /// Runs the alignment, reports events to `on_event`, and returns how the run ended.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Cancelled`](crate::train::TrainError::Cancelled) in [`AlignError::Train`] after a
    ///   cancel. The state is saved, and a call with [`Align::resume`] resumes the run;
    /// * [`AlignError::NoReward`], [`AlignError::Context`] and [`AlignError::Train`], before anything is
    ///   written, if settings, roles or sources contradict each other, the folder holds another run, or no
    ///   plan fits the device;
    /// * [`AlignError::Reward`] if the reward model cannot be used;
    /// * [`AlignError::Workers`] if workers fail;
    /// * [`AlignError::Train`] if the training fails later. The last saved state is unchanged.
    pub fn run(
        mut self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, AlignError> {
        self.check()?;
        recovering(self.model, on_event, |again, on_event| {
            self.resume |= again;
            self.attempt(control, on_event)
        })
    }

    fn attempt(
        &mut self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, AlignError> {
        let (model, prompts, guidelines, budget) = (self.model, self.prompts, self.guidelines, self.budget);
        let (config, out) = (self.config.clone(), self.out.clone());
        let config = &config;
        let settings = config.run_settings();
        let cast = InitialAdapters::new(model, self.init, self.reward.as_ref(), config)?;
        let reward_sha256 = self.reward.as_ref().map(RewardRole::sha256);
        let card = self.card(reward_sha256.as_deref());
        let run = Run {
            model,
            out: &out,
            kind: "align",
            settings: settings.clone(),
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: self.data_sha256(reward_sha256.as_deref()),
            steps: config.total_steps(prompts.prompts.len()),
            resume: self.resume,
        };
        let fresh = run.meta()?;
        let (state, damaged) = run.state(&fresh)?;
        let generation = self.generation();
        let (plan, unit_replies) = self.plan(&run, &cast, generation, state.as_ref())?;
        let total = match state.as_ref().and_then(|state| state.meta.extra.get(PLANNED)) {
            Some(&planned) => Some(planned as u64),
            None => budget.is_none().then_some(run.steps),
        };
        let summary = DataSummary::Prompts { replies: config.samples() };
        on_event(Event::Planned(&RunPlan {
            left_out: prompts.left_out,
            steps: total,
            parameters: cast.parameters(model.config().hidden),
            adapters: cast.bank().2,
            memory: Some(plan.clone()),
            damaged,
            ..RunPlan::untrained(prompts.prompts.len(), summary)
        }));

        let roles = cast.attach(model, unit_replies)?;
        let mut learner = Learner::new(model, &roles.bank, &roles.learning(), &plan.shape, adamw(&settings))?;
        learner.set_temperature(config.rollout.temperature as f32);
        let mut controller = KlController::new(&config.kl);
        let entry = |state: &TrainState, name: &str| state.meta.extra.get(name).copied();
        let meta = match &state {
            Some(state) => {
                learner.restore(&state.tensors, entry(state, UPDATES).unwrap_or_default() as u64)?;
                controller.coefficient = entry(state, KL_COEFFICIENT).unwrap_or(controller.coefficient);
                state.meta.clone()
            }
            None => {
                let mut extra = shape_entries(&plan.shape);
                extra.insert(UNIT_REPLIES.to_owned(), unit_replies as f64);
                StateMeta { extra, ..fresh }
            }
        };
        let watch = Watch::restored(&config.collapse, |name| state.as_ref().and_then(|one| entry(one, name)));
        let generator = Generator::with_adapters(model, generation, &roles.bank)?;
        let unclear = self.unclear(&control.cancel)?;
        if !unclear.is_empty() {
            on_event(Event::Unclear { principles: &unclear });
        }
        let workers = match &self.workers {
            Some(workers) => {
                let hashes = (self.init.map(Adapter::sha256), reward_sha256);
                let shape = (plan.shape, unit_replies);
                let setup = setup(model, config, shape, &generation, &prompts.end_of_turn, hashes)?;
                Some(Remote::begin(Rc::clone(workers), &setup, &control.cancel)?)
            }
            None => None,
        };
        let rewards = self.rewards(&roles, workers.as_ref(), &control.cancel)?;
        let _lock = run.begin()?;
        let mut steps = Steps {
            config,
            out: &out,
            roles,
            learner,
            generator,
            workers,
            sampler: Sampler::new(prompts, guidelines, config),
            rewards,
            controller,
            watch,
            meta,
            total,
            budget,
        };
        let last = steps.run(control, on_event)?;
        let folder = out.join(RUN_FOLDER);
        let metrics = last.iter().flat_map(|last| last.metrics.lasting());
        let metrics: BTreeMap<String, Value> =
            metrics.map(|(name, value)| (name.replace('/', "_"), value.into())).collect();
        let collapse = last.as_ref().and_then(|last| last.collapse.as_ref());
        let ended = collapse.map_or_else(|| "done".to_owned(), ToString::to_string);
        let mut card = Card {
            base_sha256: Some(steps.meta.base_sha256.clone()).filter(|hash| !hash.is_empty()),
            data_sha256: Some(steps.meta.data_sha256.clone()),
            steps: Some(steps.learner.steps()),
            metrics,
            ..card
        };
        card.other["align"]["rollouts"] = steps.meta.step.into();
        card.other["align"]["ended"] = ended.into();
        let (weights, _) = steps.roles.bank.read(steps.roles.policy)?;
        Adapter { weights, head: None, card }.write_peft(&folder)?;
        Ok(match last {
            Some(Stepped { metrics, collapse: Some(sign) }) => {
                Outcome::Collapsed { sign, step: metrics.step, adapter: folder }
            }
            _ => Outcome::Done(folder),
        })
    }

    /// `Ok` if settings, prompts and sources fit together.
    fn check(&self) -> Result<(), AlignError> {
        let Align { model, config, prompts, .. } = self;
        config.validate()?;
        let mut faults = Faults::default();
        let sources = self.source_names();
        for (name, weight) in &config.reward.weights {
            let expected = format!("the weight of one of these sources: {}", sources.join(", "));
            faults.need(sources.contains(name), &format!("reward.weights.{name}"), weight, &expected);
        }
        faults.finish()?;
        if sources.is_empty() {
            return Err(AlignError::NoReward);
        }
        if prompts.prompts.is_empty() {
            let (path, left_out) = (prompts.path.clone(), prompts.left_out);
            return Err(AlignError::NoPrompts { path, left_out, longest: config.rollout.max_prompt_tokens });
        }
        let (tokens, context) = (self.longest(), model.config().context);
        if tokens > context {
            return Err(AlignError::Context { tokens, context });
        }
        Ok(())
    }

    /// Tokens of the longest prompt and the longest reply together.
    fn longest(&self) -> usize {
        self.prompts.longest() + self.config.rollout.max_reply_tokens
    }

    /// The names of all sources, in order.
    fn source_names(&self) -> Vec<String> {
        let reward = &self.config.reward;
        let mut names: Vec<String> = Vec::new();
        names.extend(self.reward.as_ref().map(|_| <ModelReward>::NAME.to_owned()));
        names.extend(self.sources.iter().map(|source| source.name().to_owned()));
        names.extend((reward.length.score != 0.0).then(|| "length".to_owned()));
        let language = LanguageMatch::NAME.to_owned();
        names.extend(
            (reward.weights.contains_key(&language) && !names.contains(&language)).then_some(language),
        );
        names
    }

    /// Principles of the guidelines that the reward model hardly reads. Only asked of one with a bank of its own: the
    /// others are pairwise, or read all layers, and have no bound in their card.
    fn unclear(&mut self, cancel: &CancelToken) -> Result<Vec<String>, AlignError> {
        let Some(RewardRole::Apart(model)) = &mut self.reward else { return Ok(Vec::new()) };
        let principles = self.guidelines.definitions();
        let unclear = model.unclear(&principles, cancel).map_err(AlignError::from)?;
        Ok(unclear.into_iter().map(str::to_owned).collect())
    }

    /// The sum of all sources.
    fn rewards<'s>(
        &'s mut self,
        roles: &Roles,
        workers: Option<&Remote<'s>>,
        cancel: &CancelToken,
    ) -> Result<RewardSum<'s>, AlignError> {
        let names = self.source_names();
        let config = &self.config.reward;
        let mut sum = RewardSum::new(config.unfinished);
        let mut add = |source: Box<dyn RewardSource + 's>| {
            let weight = config.weight(source.name());
            sum.add(source, weight)
        };
        match (&mut self.reward, roles.reward, workers) {
            (Some(_), _, Some(workers)) => add(Box::new(RemoteReward::new(workers)))?,
            (Some(RewardRole::Shared { card, .. }), Some(id), None) => {
                let options = options(self.model);
                let model = RewardModel::in_bank(self.model, &roles.bank, id, card.clone(), &options)?;
                add(Box::new(ModelReward::new(model, cancel)))?;
            }
            (Some(RewardRole::Apart(model)), _, None) => {
                add(Box::new(ModelReward::new(&mut **model, cancel)))?
            }
            _ => {}
        }
        let given: Vec<String> = self.sources.iter().map(|source| source.name().to_owned()).collect();
        for source in &mut self.sources {
            add(Box::new(&mut **source))?;
        }
        if config.length.score != 0.0 {
            add(Box::new(LengthTerm::new(&config.length, self.config.rollout.max_reply_tokens)))?;
        }
        let own = |name: &str| names.iter().any(|one| one == name) && !given.iter().any(|one| one == name);
        if own(LanguageMatch::NAME) {
            add(Box::new(LanguageMatch))?;
        }
        Ok(sum)
    }

    /// Options of the run's generator.
    fn generation(&self) -> GeneratorOptions {
        generation(self.config.samples().min(MOST_SLOTS), self.longest().max(2))
    }

    /// The passes, and the number of replies to a prompt that share a unit. A resumed run has those of its state. A fresh
    /// one has the most that fit a pass, and that need no layer to be recomputed which smaller units would keep.
    fn plan(
        &self,
        run: &Run<'_>,
        cast: &InitialAdapters<'_>,
        generation: GeneratorOptions,
        state: Option<&TrainState>,
    ) -> Result<(Plan, usize), AlignError> {
        let fit = |n: usize| -> Result<Plan, AlignError> {
            Ok(run.fit(&self.demand(cast, generation, n)?, state)?)
        };
        if let Some(state) = state {
            // Older states have no such entry.
            let n = state.meta.extra.get(UNIT_REPLIES).map_or(1, |&n| n as usize);
            return Ok((fit(n)?, n));
        }
        let rollout = &self.config.rollout;
        let alone = fit(1)?;
        // A branch needs a token before it.
        let most = if self.prompts.shortest() > 1 { rollout.replies } else { 1 };
        let halves = std::iter::successors(Some(most), |n| Some(n.div_ceil(2))).take_while(|&n| n > 1);
        for n in halves.filter(|&n| self.unit_tokens(cast, n) <= MOST_ROWS) {
            match fit(n) {
                Ok(plan) if plan.shape.kept_layers >= alone.shape.kept_layers => return Ok((plan, n)),
                Ok(_) | Err(AlignError::Train(TrainError::Memory { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((alone, 1))
    }

    /// Most tokens of a unit of `n` replies: policy and critic read a reply in the same pass.
    fn unit_tokens(&self, cast: &InitialAdapters<'_>, n: usize) -> usize {
        cast.learning() * tokens(self.prompts.longest(), self.config.rollout.max_reply_tokens, n)
    }

    /// Memory demand of a run with `n` replies to a unit.
    fn demand(
        &self,
        cast: &InitialAdapters<'_>,
        generation: GeneratorOptions,
        n: usize,
    ) -> Result<Demand<'a>, AlignError> {
        let model = self.model;
        let device = model.device();
        let (rank, targets, adapters) = cast.bank();
        let layout = cast.layout(model);
        let reward = match &self.reward {
            Some(RewardRole::Shared { card, .. }) => {
                RewardModel::bytes_in_bank(model, &layout, card, &options(model))?
            }
            _ => 0,
        };
        // For example a reward model on another base.
        let there = device.memory().current_bytes.saturating_sub(model.device_bytes());
        let sampling = generator_bytes(model.config(), Some(&layout), device.tuning(), &generation);
        // A pass need not hold all replies: a pass as large as one of fine-tuning with the same number of sequences is as
        // fast, and takes no more memory.
        let RolloutConfig { prompts, replies, max_reply_tokens, .. } = self.config.rollout;
        let sequence = |n| tokens(self.prompts.longest(), max_reply_tokens, n);
        let rest = if replies % n > 0 { sequence(replies % n) } else { 0 };
        let rollout = prompts * (replies / n * sequence(n) + rest);
        Ok(Demand {
            model: model.config(),
            model_bytes: model.device_bytes(),
            rank,
            targets,
            adapters,
            trainable: cast.learning(),
            learning_layers: cast.learning_layers(model),
            step_tokens: rollout.min(MOST_ROWS),
            longest: self.unit_tokens(cast, n),
            beside_bytes: there + sampling + reward,
            max_binding_bytes: device.capabilities().max_binding_bytes,
        })
    }

    /// The adapter's card, with the entries that are known before the run.
    fn card(&self, reward_sha256: Option<&str>) -> Card {
        let align = json!({
            "algorithm": self.config.algorithm,
            "reward_sha256": reward_sha256,
            "init_sha256": self.init.map(Adapter::sha256),
            "principles": self.guidelines.ids(),
            "principles_sha256": self.guidelines.sha256(),
            "sources": self.source_names(),
        });
        let mut card = Card {
            base: self.model.path().and_then(file_name),
            seed: Some(self.config.seed),
            ..Card::default()
        };
        card.other.insert("align".to_owned(), align);
        card
    }

    /// Hash of all training data: prompts, principles, reward model, initial adapter and names of sources.
    fn data_sha256(&self, reward_sha256: Option<&str>) -> String {
        let mut hash = Sha256::new();
        hash.update(self.prompts.sha256());
        hash.update(self.guidelines.sha256());
        hash.update(reward_sha256.unwrap_or("no reward model"));
        hash.update(self.init.map_or_else(|| "the base".to_owned(), Adapter::sha256));
        self.source_names().iter().for_each(|name| hash.update(format!("{name}\n")));
        hex(hash.finalize())
    }
}

/// Options of the generator of a run or of one of its workers. Keys and values have the same format as in training, so
/// that generation and training compute the same policy.
pub(super) fn generation(slots: usize, context: usize) -> GeneratorOptions {
    GeneratorOptions { slots, context, kv: KvFormat::F32, repetition_window: 1 }
}

impl RewardRole<'_> {
    /// SHA-256 in hexadecimal. Covers factors and head of a reward model on the policy's base, or the card of
    /// one on another base.
    pub fn sha256(&self) -> String {
        match self {
            RewardRole::Shared { adapter, .. } => adapter.sha256(),
            RewardRole::Apart(model) => {
                let card = serde_json::to_vec(model.card()).expect("a card is plain values");
                hex(Sha256::digest(card))
            }
        }
    }
}
