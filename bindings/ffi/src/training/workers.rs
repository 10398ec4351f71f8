//! Runs whose heavy parts are computed by workers, such as those of a Ray cluster.

use std::sync::{Arc, Mutex};

use parr::align::{RewardRole, Worker, Workers};
use parr::generate::CancelToken as CallToken;

use crate::ParrError;
use crate::adapter::Adapter;
use crate::call::{lock, start};
use crate::callback::CallbackError;
use crate::model::Model;

/// Brings the tasks of an alignment run to workers, which may be in other processes. Implemented by the app.
///
/// The result of a task depends only on the setup, the shared part and the task. So a task may be repeated, on any
/// worker and in any order.
#[uniffi::export(foreign)]
pub trait TrainingWorkers: Send + Sync {
    /// Called when a run begins. Each worker is made from `setup`, by [`Model::training_worker`].
    ///
    /// # Errors
    ///
    /// [`CallbackError`] ends the run with [`ParrError::Network`].
    fn begin(&self, setup: Vec<u8>) -> Result<(), CallbackError>;

    /// Called with tasks, of which each goes to [`TrainingWorker::run`] of some worker. `shared` is the same for all.
    /// Returns the results in the order of the tasks.
    ///
    /// # Errors
    ///
    /// [`CallbackError`] ends the run with [`ParrError::Network`]. The last saved state is unchanged.
    fn run(&self, shared: Vec<u8>, tasks: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, CallbackError>;
}

/// The app's workers as those of the core.
pub(super) struct AppWorkers(pub Arc<dyn TrainingWorkers>);

impl Workers for AppWorkers {
    fn begin(&mut self, setup: &[u8]) -> Result<(), String> {
        self.0.begin(setup.to_vec()).map_err(|error| error.to_string())
    }

    fn run(&mut self, shared: &[u8], tasks: &[Vec<u8>], _: &CallToken) -> Result<Vec<Vec<u8>>, String> {
        self.0.run(shared.to_vec(), tasks.to_vec()).map_err(|error| error.to_string())
    }
}

/// Computes tasks of an alignment run that another process leads.
#[derive(Debug, uniffi::Object)]
pub struct TrainingWorker {
    worker: Arc<Mutex<Worker>>,
}

#[uniffi::export]
impl Model {
    /// Opens a worker for the run that sent `setup`. The model, the reward model in the folder `reward` and the adapter
    /// `start` must be those of the run.
    ///
    /// # Errors
    ///
    /// [`ParrError::Network`] if they are not, or the setup is from another version of Parr; the errors of
    /// [`TrainingJob::wait`](super::TrainingJob::wait) if the device cannot hold them.
    #[uniffi::method(default(reward = None, start = None))]
    pub async fn training_worker(
        self: Arc<Self>,
        setup: Vec<u8>,
        reward: Option<String>,
        start: Option<Arc<Adapter>>,
    ) -> Result<Arc<TrainingWorker>, ParrError> {
        self::start(None, move |_| {
            if let Some(start) = &start {
                start.belongs_to(&self)?;
            }
            let model = &self.loaded()?.model;
            let reward = reward.map(|folder| RewardRole::open(model, folder, false)).transpose()?;
            let init = start.as_ref().map(|start| start.adapter());
            let worker = Worker::new(model, init, reward, &setup)?;
            Ok(Arc::new(TrainingWorker { worker: Arc::new(Mutex::new(worker)) }))
        })
        .await
    }
}

#[uniffi::export]
impl TrainingWorker {
    /// Computes one task, and returns its result. Tasks that come at the same time wait for each other.
    ///
    /// # Errors
    ///
    /// [`ParrError::Network`] if a message is damaged or belongs to another run, and the errors of
    /// [`TrainingJob::wait`](super::TrainingJob::wait). After [`ParrError::DeviceLost`] open another worker.
    pub async fn run(&self, shared: Vec<u8>, task: Vec<u8>) -> Result<Vec<u8>, ParrError> {
        let worker = Arc::clone(&self.worker);
        start(None, move |cancel| Ok(lock(&worker).run(&shared, &task, cancel)?)).await
    }
}
