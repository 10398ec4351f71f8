//! The thread that hands work to the driver. A driver that never returns from that call must not stop the caller.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::opened::lock;
use crate::guarded::guarded;

/// Commands, and where the result goes.
type Job = (Option<wgpu::CommandBuffer>, Sender<Result<wgpu::SubmissionIndex, String>>);

/// Hands work to one queue. The thread ends with it, or never, if the driver does not return.
#[derive(Debug)]
pub(super) struct Submitter {
    jobs: Mutex<Sender<Job>>,
    thread: JoinHandle<()>,
}

/// Why work was not handed over.
#[derive(Debug, PartialEq)]
pub(super) enum NotSubmitted {
    /// wgpu failed with this message.
    Failed(String),
    /// The driver did not return in time.
    Hung,
}

impl Submitter {
    /// # Errors
    ///
    /// The reason if the system gives no thread.
    pub fn new(queue: wgpu::Queue) -> Result<Submitter, String> {
        let (jobs, work): (_, Receiver<Job>) = mpsc::channel();
        let run = move || {
            for (commands, done) in work {
                let result = guarded(|| queue.submit(commands));
                // Nobody waits any longer for a call that returned too late.
                let _ = done.send(result);
            }
            // As when it is dropped anywhere else: wgpu may panic there.
            let _ = guarded(|| drop(queue));
        };
        let thread = thread::Builder::new().name("gpu submissions".to_owned()).spawn(run);
        let thread = thread.map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Submitter { jobs: Mutex::new(jobs), thread })
    }

    /// Ends the thread, which drops its handle of the queue. Not for one that hangs: it would never end.
    pub fn end(self) {
        drop(self.jobs);
        // It catches all panics.
        let _ = self.thread.join();
    }

    /// Hands `commands` and all staged writes to the driver, which must return within `limit`.
    pub fn submit(
        &self,
        commands: Option<wgpu::CommandBuffer>,
        limit: Duration,
    ) -> Result<wgpu::SubmissionIndex, NotSubmitted> {
        let (done, result) = mpsc::channel();
        let sent = lock(&self.jobs).send((commands, done));
        let ended = || NotSubmitted::Failed("the thread of submissions has ended".to_owned());
        sent.map_err(|_| ended())?;
        match result.recv_timeout(limit) {
            Ok(index) => index.map_err(NotSubmitted::Failed),
            Err(RecvTimeoutError::Timeout) => Err(NotSubmitted::Hung),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }
}
