//! A run whose heavy parts are computed by other processes.
//!
//! | part | holds |
//! |---|---|
//! | [`Workers`] | what brings tasks to workers and results back, such as a Ray cluster |
//! | [`Worker`] | one worker: base, adapters and reward model on a device of its own |
//!
//! Each task is a pure function: its result depends on the setup of the run, the values of the adapters, and the task.
//! So a task can be repeated on another worker, and the result of a run depends neither on the number of workers nor
//! on which of them computed what. The sizes of tasks are fixed by the settings of the run. Gradients are computed per
//! pass and summed in the order of the passes, as in a single process.
//!
//! On kernels of the family `lane8` a run with workers ends with the bits of [`Align::run`](super::Align::run) in one
//! process. On the family `tiled` the kernel of a product depends on its number of rows, so the bits of a run with
//! workers may differ in the last place from those of a single process, but not from those of another number of
//! workers. All workers need the same kind of device, driver and kernel family.

mod message;
mod remote;
mod worker;

use crate::generate::CancelToken;

pub(super) use message::Passage;
pub(super) use remote::{MiniBatch, Remote, RemoteReward, setup};
pub use worker::Worker;

/// Brings the tasks of a run to workers. An implementation decides where they run.
///
/// It may repeat a task, for example after a worker has died, and may run tasks in any order.
pub trait Workers {
    /// Called when a run begins. Each [`Worker`] of the run is made from `setup`.
    ///
    /// # Errors
    ///
    /// A message, if no worker can be started.
    fn begin(&mut self, setup: &[u8]) -> Result<(), String>;

    /// Runs every task with [`Worker::run`], and returns the results in the order of `tasks`. `shared` is the same for
    /// all tasks of a call, and holds the values of the adapters.
    ///
    /// # Errors
    ///
    /// A message, if a task fails, or if no worker is left to run it.
    fn run(&mut self, shared: &[u8], tasks: &[Vec<u8>], cancel: &CancelToken)
    -> Result<Vec<Vec<u8>>, String>;
}
