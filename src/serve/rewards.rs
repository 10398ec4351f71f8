//! The reward models of a served model, by name. Each is opened when it is first needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::openai::errors::ApiError;
use crate::model::Model;
use crate::reward::{RewardModel, RewardOptions, SHIPPED};

/// A reward model that requests share. It scores for one of them at a time.
pub(super) type SharedReward = Arc<Mutex<RewardModel>>;

/// The reward models that a server knows.
pub(super) struct Rewards {
    model: Model,
    any_base: bool,
    given: RwLock<Vec<Arc<Known>>>,
    /// Whether the reward model that comes with the program fits. Reading the model's hash takes a moment.
    shipped_fits: OnceLock<bool>,
    shipped: Arc<Known>,
}

struct Known {
    name: String,
    path: PathBuf,
    open: Mutex<Option<SharedReward>>,
}

impl Known {
    fn new(path: &Path) -> Known {
        let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        // The folder of a run may be given as its adapter.
        let name = named(path).filter(|name| name != crate::adapter::RUN_FOLDER);
        let name = name.or_else(|| named(path.parent()?)).unwrap_or_else(|| path.display().to_string());
        Known { name, path: path.to_owned(), open: Mutex::default() }
    }
}

impl Rewards {
    /// Knows the reward models at `paths`, of which the first is the default.
    pub fn new(model: &Model, paths: &[PathBuf], any_base: bool) -> Rewards {
        Rewards {
            model: model.clone(),
            any_base,
            given: RwLock::new(paths.iter().map(|path| Arc::new(Known::new(path))).collect()),
            shipped_fits: OnceLock::new(),
            shipped: Arc::new(Known::new(Path::new(SHIPPED))),
        }
    }

    /// Knows a further reward model, such as one that was just trained.
    pub fn add(&self, path: &Path) {
        self.given.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(Known::new(path)));
    }

    fn known(&self) -> Vec<Arc<Known>> {
        let fits = || {
            let read = || RewardModel::read(&self.model, &self.shipped.path, self.any_base).is_ok();
            cfg!(feature = "shipped-reward") && *self.shipped_fits.get_or_init(read)
        };
        let mut known = self.given.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !known.iter().any(|one| one.name == SHIPPED) && fits() {
            known.push(Arc::clone(&self.shipped));
        }
        known
    }

    /// Names of all reward models, the default first. This may read the model's files.
    pub fn names(&self) -> Vec<String> {
        self.known().iter().map(|known| known.name.clone()).collect()
    }

    /// Where the reward model `name` is; without a name, the default.
    pub fn path(&self, name: Option<&str>) -> Result<PathBuf, ApiError> {
        Ok(self.find(name)?.path.clone())
    }

    fn find(&self, name: Option<&str>) -> Result<Arc<Known>, ApiError> {
        let known = self.known();
        let Some(name) = name else {
            let none = || {
                let message = "this needs a reward model, and the server has none that fits the model; start it with --reward";
                ApiError::unprocessable(message).code("no_reward").param("reward")
            };
            return known.first().cloned().ok_or_else(none);
        };
        let found = known.iter().find(|one| one.name == name).cloned();
        found.ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
            let message = format!("there is no reward model `{name}`; this server has {}", listed(&names));
            ApiError::not_found(message).param("reward")
        })
    }

    /// Opens the reward model `name`, or the default. Blocks while it is loaded.
    pub fn open(&self, name: Option<&str>) -> Result<(String, SharedReward), ApiError> {
        let known = self.find(name)?;
        let mut open = known.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reward) = &*open {
            return Ok((known.name.clone(), Arc::clone(reward)));
        }
        let options = RewardOptions { any_base: self.any_base, ..RewardOptions::default() };
        let reward = RewardModel::open(&self.model, &known.path, &options)?;
        let reward = Arc::new(Mutex::new(reward));
        *open = Some(Arc::clone(&reward));
        tracing::info!(name = known.name, "a reward model was opened");
        Ok((known.name.clone(), reward))
    }
}

/// Names in a message.
pub(super) fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
