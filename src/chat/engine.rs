//! The parts of a session on the device: the cache, the adapter, the reward model.

use std::path::PathBuf;

use super::{ChatAdapter, ChatError};
use crate::generate::{CancelToken, Generator, GeneratorOptions};
use crate::model::Model;
use crate::model::lora::AdapterBank;
use crate::reward::{RewardModel, RewardOptions};
use crate::steer::{Answer, Ask, SteerError, SteerEvent, SteeredModel, Steering};

/// A reward model that chooses among replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RewardFolder {
    pub path: PathBuf,
    pub any_base: bool,
}

/// The parts that an engine is created for. If any part changes, a new engine is created.
#[derive(Clone, Debug)]
pub(super) struct EngineKey {
    pub adapter: Option<ChatAdapter>,
    pub reward: Option<RewardFolder>,
    pub generator: GeneratorOptions,
}

impl EngineKey {
    fn same(&self, other: &EngineKey) -> bool {
        let same_adapter = match (&self.adapter, &other.adapter) {
            (Some(one), Some(two)) => one.is(two),
            (None, None) => true,
            _ => false,
        };
        same_adapter && self.reward == other.reward && self.generator == other.generator
    }
}

/// The model with its cache, ready to answer.
#[derive(Debug)]
pub(super) struct Engine {
    key: EngineKey,
    budget: Option<u64>,
    steered: SteeredModel,
}

impl Engine {
    /// Returns `kept` if it matches `key`, or a new engine. `kept` is freed before the new one is created. If
    /// the GPU was lost, it is opened again, and the model is loaded again.
    pub fn get(
        kept: Option<Engine>,
        key: EngineKey,
        model: &Model,
        budget: Option<u64>,
    ) -> Result<Engine, ChatError> {
        if let Some(engine) = kept
            && engine.key.same(&key)
            && !engine.steered.is_lost()
        {
            return Ok(engine);
        }
        if model.is_lost() {
            reload(model)?;
        }
        match model.opening(|| Engine::new(key.clone(), model, budget)) {
            Err(_) if model.is_lost() => {
                reload(model)?;
                Engine::new(key, model, budget)
            }
            engine => engine,
        }
    }

    fn new(key: EngineKey, model: &Model, budget: Option<u64>) -> Result<Engine, ChatError> {
        let placed = match (&key.adapter, &key.reward) {
            (Some(adapter), None) => Some(adapter.place(model)?),
            _ => None,
        };
        key.check_budget(model, placed.as_ref().map(|(bank, _)| bank), budget)?;
        let steered = match placed {
            Some((bank, id)) => SteeredModel::in_bank(model, &bank, id, key.generator)?,
            None => {
                let policy = key.adapter.as_ref().map(|adapter| &adapter.adapter().weights);
                let folder = key.reward.as_ref().map(|reward| reward.path.as_path());
                SteeredModel::open(model, policy, folder, key.generator, &key.reading())?
            }
        };
        Ok(Engine { key, budget, steered })
    }

    /// The model that answers.
    pub fn steered(&self) -> &SteeredModel {
        &self.steered
    }

    /// The reward model, if there is one.
    pub fn reward(&mut self) -> Option<&mut RewardModel> {
        self.steered.reward()
    }

    /// Answers one question, as [`SteeredModel::answer`].
    pub fn answer(
        &mut self,
        steering: &Steering,
        ask: &Ask,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<Vec<Answer>, SteerError> {
        let (key, budget) = (self.key.clone(), self.budget);
        let model = self.steered.model().clone();
        let rebuild = || Some(Engine::new(key, &model, budget).ok()?.steered);
        self.steered.answer_rebuilding(steering, std::slice::from_ref(ask), cancel, on_event, rebuild)
    }
}

/// Opens the device again, and loads the model again.
fn reload(model: &Model) -> Result<(), ChatError> {
    model.reload().map_err(|error| ChatError::Reload { source: Box::new(error) })
}

impl EngineKey {
    fn reading(&self) -> RewardOptions {
        let any_base = self.reward.as_ref().is_some_and(|reward| reward.any_base);
        RewardOptions { any_base, ..RewardOptions::default() }
    }

    /// `Ok` if `budget`, in bytes, holds the engine in addition to what is in use.
    fn check_budget(
        &self,
        model: &Model,
        bank: Option<&AdapterBank>,
        budget: Option<u64>,
    ) -> Result<(), ChatError> {
        let Some(budget) = budget else { return Ok(()) };
        let mut needed = Generator::plan_bytes(model, self.generator, bank);
        if let Some(reward) = &self.reward {
            needed +=
                RewardModel::plan_bytes(model, &reward.path, &self.reading()).map_err(SteerError::from)?;
        }
        let used = model.device().memory().current_bytes;
        if used.saturating_add(needed) > budget {
            return Err(ChatError::Budget { what: "the session's caches", needed, used, budget });
        }
        Ok(())
    }
}
