//! What all handlers share: the served model, the folders, the runs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use super::ServeOptions;
use super::adapters::{Adapters, Source};
use super::constrained::Grammars;
use super::metrics::Metrics;
use super::openai::echo::PromptScorer;
use super::openai::errors::ApiError;
use super::principles::PrincipleFolder;
use super::rewards::Rewards;
use super::runs::Runs;
use crate::generate::{DEFAULT_CONTEXT, GeneratorOptions, Scheduler};
use crate::hub::CATALOG;
use crate::model::Model;

/// What handlers get.
pub(super) type Shared = axum::extract::State<Arc<ServerState>>;

/// The state of a server.
pub(super) struct ServerState {
    pub options: ServeOptions,
    served: RwLock<Option<Arc<Served>>>,
    /// Held while a model is opened, so that two requests do not open two.
    pub opening: tokio::sync::Mutex<()>,
    pub principles: PrincipleFolder,
    pub runs: Runs,
    pub metrics: Arc<Metrics>,
    draining: AtomicBool,
}

/// A model with all that serves it.
pub(super) struct Served {
    /// The name that clients use.
    pub id: String,
    pub model: Model,
    pub scheduler: Scheduler,
    pub adapters: Arc<Adapters>,
    pub rewards: Rewards,
    pub grammars: OnceLock<Result<Grammars, String>>,
    pub prompt_scorer: PromptScorer,
    pub metrics: Arc<Metrics>,
}

/// A model that a request names, with an adapter or without.
pub(super) struct Chosen {
    pub served: Arc<Served>,
    /// The name as the reply repeats it.
    pub name: String,
    pub adapter: Option<super::adapters::AdapterUse>,
}

impl ServerState {
    pub fn new(options: ServeOptions) -> ServerState {
        ServerState {
            principles: PrincipleFolder::new(options.principles.clone()),
            runs: Runs::new(options.runs.clone()),
            options,
            served: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            metrics: Arc::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// The model.
    pub fn served(&self) -> Result<Arc<Served>, ApiError> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        served.clone().ok_or_else(ApiError::no_model)
    }

    /// Starts to serve `model`.
    pub fn serve(&self, id: &str, model: &Model) -> Result<(), crate::Error> {
        let options = &self.options;
        let context = options.context.unwrap_or(DEFAULT_CONTEXT).min(model.config().context);
        let generator =
            GeneratorOptions { slots: options.slots, context, kv: options.kv, ..Default::default() };
        let adapters =
            Adapters::new(model, generator, (options.adapter_rank, options.adapter_slots), options.any_base);
        let scheduler = Scheduler::start(Source(Arc::clone(&adapters)), options.queue)?;
        let served = Served {
            id: id.to_owned(),
            model: model.clone(),
            prompt_scorer: PromptScorer::new(model, context, options.kv),
            rewards: Rewards::new(model, &options.rewards, options.any_base),
            scheduler,
            adapters,
            grammars: OnceLock::new(),
            metrics: Arc::clone(&self.metrics),
        };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(served));
        Ok(())
    }

    /// Loads the adapters of the options, and then those that runs of earlier servers have made. `Err` with name, path and
    /// reason of the first of the options that cannot be loaded; the others are loaded then, too.
    pub fn load_adapters(&self) -> Result<(), (String, PathBuf, String)> {
        let Ok(served) = self.served() else { return Ok(()) };
        let mut first = Ok(());
        for (name, path) in &self.options.adapters {
            if let Err(error) = served.adapters.load(name, path) {
                first = first.and(Err((name.clone(), path.clone(), error.message)));
            }
        }
        self.runs.load_earlier(&served);
        first
    }

    /// The model that a request names, and the claim on its adapter. Without a name it is the base.
    pub fn choose(&self, name: Option<&str>) -> Result<Chosen, ApiError> {
        let served = self.served()?;
        let Some(name) = name else {
            let name = served.id.clone();
            return Ok(Chosen { served, name, adapter: None });
        };
        // Clients of Ollama add a tag to every name.
        let plain = name.strip_suffix(":latest").unwrap_or(name);
        if plain == served.id {
            return Ok(Chosen { served, name: name.to_owned(), adapter: None });
        }
        let adapter = plain.strip_prefix(served.id.as_str()).and_then(|rest| rest.strip_prefix(':'));
        match adapter.and_then(|adapter| served.adapters.claim(adapter)) {
            Some(adapter) => Ok(Chosen { served, name: name.to_owned(), adapter: Some(adapter) }),
            None => {
                let mut known = vec![served.id.clone()];
                known
                    .extend(served.adapters.names().iter().map(|adapter| format!("{}:{adapter}", served.id)));
                let message = format!("there is no model `{name}`; this server has {}", known.join(", "));
                Err(ApiError::not_found(message).code("model_not_found").param("model"))
            }
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// When a reply ends that begins now.
    pub fn deadline(&self) -> Option<Instant> {
        self.options.request_timeout.and_then(|most| Instant::now().checked_add(most))
    }

    /// Frees what is on the device.
    pub fn close(&self) {
        let served = self.served.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(served) = served {
            served.scheduler.drain();
        }
    }
}

impl Served {
    /// Licence of the weights, if the catalogue knows the model.
    pub fn licence(&self) -> Option<&'static str> {
        CATALOG.iter().find(|entry| entry.name == self.id).map(|entry| entry.licence)
    }

    /// The file or folder of the model.
    pub fn path(&self) -> Option<PathBuf> {
        self.model.path().map(std::path::Path::to_owned)
    }

    /// The grammars of replies that follow a schema. The first call takes a moment.
    pub fn grammars(&self) -> Result<&Grammars, ApiError> {
        let grammars = self.grammars.get_or_init(|| Grammars::new(&self.model));
        grammars.as_ref().map_err(|reason| ApiError::unprocessable(reason.clone()).param("response_format"))
    }
}

/// Runs `work`, which may take long, on a thread for such work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::internal("a part of the server failed"))
}

/// The name of a model for clients: its name in the catalogue or on the hub, or of its file without the extension.
pub(super) fn model_id(name: &str) -> String {
    let path = std::path::Path::new(name);
    if !path.exists() {
        return name.to_owned();
    }
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    stem.map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned())
}
