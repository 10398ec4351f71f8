//! The adapters of a served model: one bank, names, and who uses them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::body::{Json, Name, json_response, ok};
use super::jobs::adapter_fault;
use super::openai::errors::ApiError;
use super::state::Shared;
use crate::Error;
use crate::adapter::Adapter;
use crate::generate::{GenerateError, Generator, GeneratorOptions, GeneratorSource};
use crate::gpu::DeviceError;
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraWeights, Projections};

/// How often a removal looks whether the adapter is still in use.
const LOOKS_EVERY: Duration = Duration::from_millis(20);
/// The longest name of an adapter.
const LONGEST_NAME: usize = 64;

/// The named adapters of a model, and the generator that they share.
pub(super) struct Adapters {
    model: Model,
    generator: GeneratorOptions,
    rank: usize,
    capacity: usize,
    any_base: bool,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    bank: Option<AdapterBank>,
    entries: Vec<Entry>,
}

struct Entry {
    name: Arc<str>,
    path: PathBuf,
    weights: LoraWeights,
    /// `None` while the bank is gone with the GPU.
    id: Option<AdapterId>,
    /// Whether it is about to be removed, so that nobody else may use it.
    leaving: bool,
    /// Requests hold a clone of `name` for each use.
    uses: Arc<()>,
}

/// The right to use an adapter. The adapter stays as long as it exists.
#[derive(Clone)]
pub(super) struct AdapterUse {
    name: Arc<str>,
    _use: Arc<()>,
}

impl AdapterUse {
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Adapters {
    pub fn new(
        model: &Model,
        generator: GeneratorOptions,
        (rank, capacity): (usize, usize),
        any_base: bool,
    ) -> Arc<Adapters> {
        let loaded = Mutex::default();
        Arc::new(Adapters { model: model.clone(), generator, rank, capacity, any_base, loaded })
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bank, and the id of an adapter in it.
    pub fn bank(&self, name: Option<&str>) -> Option<(AdapterBank, Option<AdapterId>)> {
        let loaded = self.lock();
        let id = match name {
            Some(name) => Some(loaded.entries.iter().find(|entry| &*entry.name == name)?.id?),
            None => None,
        };
        Some((loaded.bank.clone()?, id))
    }

    /// Claims an adapter.
    pub fn claim(&self, name: &str) -> Option<AdapterUse> {
        let loaded = self.lock();
        let entry = loaded.entries.iter().find(|entry| &*entry.name == name && !entry.leaving)?;
        Some(AdapterUse { name: Arc::clone(&entry.name), _use: Arc::clone(&entry.uses) })
    }

    /// Names of all adapters that requests may use.
    pub fn names(&self) -> Vec<String> {
        let loaded = self.lock();
        loaded.entries.iter().filter(|entry| !entry.leaving).map(|entry| entry.name.to_string()).collect()
    }

    /// Loads the adapter at `path` as `name`.
    pub fn load(&self, name: &str, path: &Path) -> Result<Value, ApiError> {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(letter) {
            let message = format!(
                "the name of an adapter has 1 to {LONGEST_NAME} letters, digits, dots, hyphens and underscores"
            );
            return Err(ApiError::field("name", message));
        }
        let taken = || ApiError::conflict(format!("there is already an adapter `{name}`"), "name_taken");
        if self.lock().entries.iter().any(|entry| &*entry.name == name) {
            return Err(taken());
        }
        let refused = |error: ApiError| ApiError {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            param: Some("path".to_owned()),
            ..error
        };
        let adapter =
            Adapter::open_on(&self.model, path, self.any_base).map_err(|error| refused(error.into()))?;
        adapter.check_speaks().map_err(|error| refused(error.into()))?;
        let mut loaded = self.lock();
        // Another request may have loaded one meanwhile.
        if loaded.entries.iter().any(|entry| &*entry.name == name) {
            return Err(taken());
        }
        if loaded.entries.len() >= self.capacity {
            let message = format!(
                "there are {} adapters, and the server holds {}; remove one, or start it with more --adapter-slots",
                loaded.entries.len(),
                self.capacity
            );
            return Err(ApiError::unprocessable(message).code("no_adapter_slot"));
        }
        let id = match &loaded.bank {
            Some(bank) => Some(bank.attach(&adapter.weights, None).map_err(adapter_fault)?),
            None => None,
        };
        let entry = Entry {
            name: name.into(),
            path: path.to_owned(),
            weights: adapter.weights,
            id,
            leaving: false,
            uses: Arc::default(),
        };
        let value = entry.json();
        loaded.entries.push(entry);
        Ok(value)
    }

    /// Forbids new uses of an adapter; false if there is none.
    fn leave(&self, name: &str) -> bool {
        let mut loaded = self.lock();
        let entry = loaded.entries.iter_mut().find(|entry| &*entry.name == name && !entry.leaving);
        entry.map(|entry| entry.leaving = true).is_some()
    }

    /// Removes an adapter that nobody uses any more; false if somebody does.
    fn remove_unused(&self, name: &str) -> bool {
        let mut loaded = self.lock();
        let Some(place) = loaded.entries.iter().position(|entry| &*entry.name == name) else { return true };
        if Arc::strong_count(&loaded.entries[place].uses) > 1 {
            return false;
        }
        let entry = loaded.entries.remove(place);
        if let (Some(bank), Some(id)) = (&loaded.bank, entry.id) {
            bank.detach(id);
        }
        true
    }

    /// Number of further adapters that there is room for.
    pub fn places(&self) -> usize {
        self.capacity.saturating_sub(self.count())
    }

    /// Number of loaded adapters.
    pub fn count(&self) -> usize {
        self.lock().entries.len()
    }
}

impl Entry {
    fn json(&self) -> Value {
        json!({
            "name": &*self.name,
            "path": self.path.display().to_string(),
            "rank": self.weights.config.rank,
            "loaded": self.id.is_some(),
        })
    }
}

/// Makes the generator that all adapters share, again after each loss of the GPU.
pub(super) struct Source(pub Arc<Adapters>);

impl GeneratorSource for Source {
    fn open(&mut self) -> Result<Generator, GenerateError> {
        let adapters = &self.0;
        let model = &adapters.model;
        if model.is_lost() {
            tracing::warn!("the GPU was lost; opening it and loading the model again");
            model.reload().map_err(|error| match error {
                Error::Device(error) => GenerateError::Device(error),
                other => GenerateError::Device(DeviceError::Lost { reason: other.to_string() }),
            })?;
        }
        let mut loaded = adapters.lock();
        loaded.bank = None;
        loaded.entries.iter_mut().for_each(|entry| entry.id = None);
        if adapters.capacity == 0 {
            return Generator::new(model, adapters.generator);
        }
        model.opening(|| {
            let failed = |source| match source {
                crate::model::lora::AdapterError::Device(error) => GenerateError::Device(error),
                source => GenerateError::Adapter { request: 0, source },
            };
            let bank = AdapterBank::new(model, adapters.rank, Projections::ALL, adapters.capacity)
                .map_err(failed)?;
            let generator = Generator::with_adapters(model, adapters.generator, &bank)?;
            for entry in &mut loaded.entries {
                entry.id = Some(bank.attach(&entry.weights, None).map_err(failed)?);
            }
            loaded.bank = Some(bank);
            Ok(generator)
        })
    }

    fn adapter(&self, name: &str) -> Option<AdapterId> {
        // One that is about to leave is still used by requests that came before.
        self.0.lock().entries.iter().find(|entry| &*entry.name == name)?.id
    }
}

/// `GET /v1/adapters`
pub(super) async fn list(State(state): Shared) -> Result<Response, ApiError> {
    let served = state.served()?;
    let entries: Vec<Value> = served.adapters.lock().entries.iter().map(Entry::json).collect();
    Ok(ok(&json!({ "data": entries })))
}

/// `POST /v1/adapters`
pub(super) async fn load(State(state): Shared, Json(mut fields): Json) -> Result<Response, ApiError> {
    let served = state.served()?;
    let (name, path): (String, PathBuf) = (fields.need("name")?, fields.need("path")?);
    let entry = super::state::blocking(move || served.adapters.load(&name, &path)).await??;
    tracing::info!(name = %entry["name"], "an adapter was loaded");
    Ok(json_response(StatusCode::CREATED, &entry))
}

/// `DELETE /v1/adapters/{name}`
pub(super) async fn remove(State(state): Shared, Name(name): Name) -> Result<Response, ApiError> {
    let served = state.served()?;
    if !served.adapters.leave(&name) {
        return Err(ApiError::not_found(format!("there is no adapter `{name}`")));
    }
    // On its own task: a client that leaves does not stop the removal half-way.
    let (adapters, asked) = (Arc::clone(&served.adapters), name.clone());
    let removal = tokio::spawn(async move {
        while !adapters.remove_unused(&asked) {
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    });
    removal.await.map_err(|_| ApiError::internal("the removal was interrupted"))?;
    tracing::info!(name, "an adapter was removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}
