//! One opening of a device by the driver: calls into wgpu, submission, waiting, faults.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::error::DeviceError;
use super::kernel::Specialization;
use super::pipeline::ComputePipeline;
use super::pipeline_store::PipelineStore;
use super::submitter::{NotSubmitted, Submitter};
use super::texture::Texture;
use crate::guarded::guarded;

/// Writes after which a submit is forced. wgpu holds written data, and its target buffer even if that is
/// dropped, until the next submit. An app that cancels all its sessions before they begin would never
/// submit.
const STAGED_WRITES: u32 = 32;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A device as the driver opened it. When it is lost, [`super::Device::reopen`] puts a new one in its place.
#[derive(Debug)]
pub(super) struct Opened {
    /// `None` only while it is dropped.
    handles: Option<(wgpu::Device, wgpu::Queue)>,
    /// `None` only while it is dropped.
    submitter: Option<Submitter>,
    /// How often the device was opened before. Buffers, pipelines and recordings hold this number, too.
    pub(super) generation: u32,
    pub(super) pipelines: Mutex<HashMap<(&'static str, Specialization), Arc<ComputePipeline>>>,
    pub(super) store: Option<PipelineStore>,
    pub(super) timestamp_period: f32,
    pub(super) staging: Mutex<Option<wgpu::Buffer>>,
    pub(super) unused: wgpu::Buffer,
    /// The texture that holds the operands of products, one after the other, once it is needed.
    pub(super) operands: Mutex<Option<Texture>>,
    faults: Arc<Faults>,
    /// Writes since the last submit.
    staged: AtomicU32,
    limit: WaitLimit,
    pending: Mutex<Pending>,
    /// Held while a pipeline is compiled, so that a refusal belongs to one kernel.
    pub(super) compiling: Mutex<()>,
}

/// Submissions that no wait has seen the end of.
#[derive(Debug, Default)]
struct Pending {
    /// Oldest first: the device runs one after the other.
    list: VecDeque<Submission>,
    /// When the oldest began at the latest.
    since: Option<Instant>,
    /// Number of submissions so far.
    count: u64,
}

#[derive(Clone, Debug)]
struct Submission {
    number: u64,
    index: wgpu::SubmissionIndex,
    limit: Duration,
}

/// The work of a submission, which determines how long it may take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Dispatches, copies and clears.
    pub commands: u32,
    /// Pipelines that run for the first time: some drivers compile them only then.
    pub first_runs: u32,
}

/// How long a submission may take before the device counts as lost. The rates are those of the slowest
/// devices: a phone, or a software driver beside other programs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WaitLimit {
    pub base: Duration,
    pub per_gigaflop: Duration,
    pub per_command: Duration,
    pub per_first_run: Duration,
}

impl WaitLimit {
    /// The limits of software drivers or of hardware; `base` replaces the time for an empty submission.
    pub fn new(software: bool, base: Option<Duration>) -> Self {
        let limit = |base_s, per_gigaflop_ms, first_run_s| WaitLimit {
            base: base.unwrap_or(Duration::from_secs(base_s)),
            per_gigaflop: Duration::from_millis(per_gigaflop_ms),
            per_command: Duration::from_millis(20),
            per_first_run: Duration::from_secs(first_run_s),
        };
        if software { limit(20, 4000, 5) } else { limit(10, 200, 2) }
    }

    pub fn of(&self, work: Work) -> Duration {
        let flops = self.per_gigaflop.as_secs_f64() * (work.flops as f64 / 1e9);
        let flops = Duration::try_from_secs_f64(flops).unwrap_or(LONGEST);
        let commands = self.per_command.saturating_mul(work.commands);
        let first_runs = self.per_first_run.saturating_mul(work.first_runs);
        self.base.saturating_add(flops).saturating_add(commands).saturating_add(first_runs).min(LONGEST)
    }
}

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Errors that the driver reported outside a call.
#[derive(Debug, Default)]
struct Faults {
    lost: AtomicBool,
    released: AtomicBool,
    /// The handles are never dropped. A submission did not end, so the driver may still use all memory, and
    /// waiting for it would never end; or the first submission failed.
    kept: AtomicBool,
    lost_reason: Mutex<String>,
    reported: Mutex<Option<Report>>,
}

#[derive(Debug)]
enum Report {
    OutOfMemory(String),
    Rejected(String),
}

impl Faults {
    fn lose(&self, reason: String) {
        let mut known = lock(&self.lost_reason);
        if !self.lost.swap(true, Ordering::AcqRel) {
            *known = reason;
        }
    }
}

/// wgpu's texts for a driver that is out of memory, where that costs the device.
pub(super) const OUT_OF_MEMORY: [&str; 2] = ["Out of memory", "OutOfMemory"];

impl Opened {
    /// # Errors
    ///
    /// The reason if wgpu fails.
    pub fn new(
        raw: wgpu::Device,
        queue: wgpu::Queue,
        adapter: &wgpu::Adapter,
        limit: WaitLimit,
        generation: u32,
    ) -> Result<Self, DeviceError> {
        let faults = Arc::new(Faults::default());
        let sink = Arc::clone(&faults);
        raw.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let report = match &error {
                wgpu::Error::OutOfMemory { .. } => Report::OutOfMemory(error.to_string()),
                _ => Report::Rejected(error.to_string()),
            };
            lock(&sink.reported).get_or_insert(report);
        }));
        let sink = Arc::clone(&faults);
        raw.set_device_lost_callback(move |_, message| sink.lose(message));
        let lost = |reason| DeviceError::Lost { reason };
        let store = guarded(|| PipelineStore::open(&raw, adapter)).map_err(lost)?;
        let unused = guarded(|| {
            raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some("unused"),
                size: 16,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        })
        .map_err(lost)?;
        let submitter = Submitter::new(queue.clone()).map_err(lost)?;
        let opened = Opened {
            submitter: Some(submitter),
            timestamp_period: queue.get_timestamp_period(),
            handles: Some((raw, queue)),
            generation,
            pipelines: Mutex::default(),
            store,
            staging: Mutex::default(),
            unused,
            operands: Mutex::default(),
            faults,
            staged: AtomicU32::new(0),
            limit,
            pending: Mutex::default(),
            compiling: Mutex::default(),
        };
        opened.check("a new device")?;
        // Where the first submission finds no memory for a semaphore, wgpu-hal 30 notes the one that it has twice,
        // and frees it twice (`RelaySemaphores::advance`). It is made here, where nothing else depends on it.
        opened.submit("a new device", |_| (None, Work::default())).inspect_err(|_| {
            opened.faults.kept.store(true, Ordering::Release);
        })?;
        Ok(opened)
    }

    fn handles(&self) -> &(wgpu::Device, wgpu::Queue) {
        self.handles.as_ref().expect("only `drop` takes them")
    }

    /// Runs a call into wgpu; `what` names it in errors. This is the only way into wgpu after opening. After a
    /// panic inside wgpu the device counts as lost.
    pub fn call<T>(
        &self,
        what: &str,
        call: impl FnOnce(&wgpu::Device, &wgpu::Queue) -> T,
    ) -> Result<T, DeviceError> {
        self.check(what)?;
        let (raw, queue) = self.handles();
        let result = guarded(|| call(raw, queue)).map_err(|message| {
            self.faults.lose(message);
            self.lost_error(what)
        });
        self.check(what)?;
        result
    }

    /// The error of a device that is lost.
    fn lost_error(&self, what: &str) -> DeviceError {
        let reason = lock(&self.faults.lost_reason).clone();
        if OUT_OF_MEMORY.iter().any(|text| reason.contains(text)) {
            return DeviceError::OutOfMemory { what: what.to_owned(), reason };
        }
        DeviceError::Lost { reason }
    }

    /// Returns the errors that the driver reported since the last check.
    pub fn check(&self, what: &str) -> Result<(), DeviceError> {
        if self.is_lost() {
            return Err(self.lost_error(what));
        }
        match lock(&self.faults.reported).take() {
            Some(Report::OutOfMemory(reason)) => {
                Err(DeviceError::OutOfMemory { what: what.to_owned(), reason })
            }
            Some(Report::Rejected(reason)) => Err(DeviceError::Rejected { what: what.to_owned(), reason }),
            None => Ok(()),
        }
    }

    pub fn limit(&self) -> WaitLimit {
        self.limit
    }

    pub fn is_lost(&self) -> bool {
        self.faults.lost.load(Ordering::Acquire)
    }

    /// Whether the app released the device.
    pub fn is_released(&self) -> bool {
        self.faults.released.load(Ordering::Acquire)
    }

    /// Whether the driver itself refused something in a way that costs the device: neither lost nor out of
    /// memory.
    pub fn is_refused(&self) -> bool {
        self.is_lost() && lock(&self.faults.lost_reason).contains("driver implementation is at fault")
    }

    /// Marks the device as lost.
    pub fn lose(&self, reason: impl Into<String>) {
        self.faults.lose(reason.into());
    }

    /// Marks the device as lost, because it did not answer for `waited`.
    fn hang(&self, waited: Duration) {
        self.faults.kept.store(true, Ordering::Release);
        self.lose(format!("it did not answer for {:.1} s", waited.as_secs_f64()));
    }

    /// Replaces the reason why the device was lost by a more detailed one.
    pub fn explain(&self, reason: String) {
        *lock(&self.faults.lost_reason) = reason;
    }

    /// Gives the device and all its memory back to the driver.
    pub fn release(&self) {
        self.faults.released.store(true, Ordering::Release);
        // Drivers report the loss at any later time, so it is recorded here.
        self.lose("it was released");
        let _ = guarded(|| self.handles().0.destroy());
    }

    /// Writes `bytes` before the next submit.
    pub fn stage(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.call("a write", |_, queue| queue.write_buffer(buffer, offset, bytes))?;
        if self.staged.fetch_add(1, Ordering::Relaxed) + 1 >= STAGED_WRITES {
            self.submit("a write", |_| (None, Work::default()))?;
        }
        Ok(())
    }

    /// Submits the commands that `encode` returns, and all staged writes.
    pub fn submit(
        &self,
        what: &str,
        encode: impl FnOnce(&wgpu::Device) -> (Option<wgpu::CommandBuffer>, Work),
    ) -> Result<(), DeviceError> {
        self.staged.store(0, Ordering::Relaxed);
        // Another thread's submission comes before or after this one in the list as in the queue.
        let mut pending = lock(&self.pending);
        let (commands, work) = self.call(what, |raw, _| encode(raw))?;
        // Some drivers first wait for earlier work here.
        let earlier = pending.list.iter().map(|submission| submission.limit);
        let limit = earlier.fold(self.limit.of(work), Duration::saturating_add).min(LONGEST);
        let submitter = self.submitter.as_ref().expect("only `drop` takes it");
        let index = submitter.submit(commands, limit).map_err(|error| {
            match error {
                NotSubmitted::Failed(message) => self.faults.lose(message),
                NotSubmitted::Hung => self.hang(limit),
            }
            self.lost_error(what)
        });
        self.check(what)?;
        let index = index?;
        if pending.list.is_empty() {
            pending.since = Some(Instant::now());
        }
        pending.count += 1;
        let submission = Submission { number: pending.count, index, limit: self.limit.of(work) };
        pending.list.push_back(submission);
        Ok(())
    }

    /// Frees the memory of a lost device at once, although its buffers exist.
    pub fn free(&self) {
        if self.is_lost() && !self.faults.kept.load(Ordering::Acquire) {
            let (raw, _) = self.handles();
            let _ = guarded(|| {
                raw.destroy();
                raw.poll(wgpu::PollType::Poll)
            });
        }
    }

    /// Waits for all submissions, one after the other, each for as long as its work may take. Several threads
    /// may wait for the same one.
    pub fn wait(&self) -> Result<(), DeviceError> {
        const WHAT: &str = "a submission";
        loop {
            let (first, since) = {
                let pending = lock(&self.pending);
                (pending.list.front().cloned(), pending.since)
            };
            let passed = since.map_or(Duration::ZERO, |since| since.elapsed());
            let rest = first.as_ref().map_or(Duration::ZERO, |first| first.limit.saturating_sub(passed));
            let timeout = rest.max(self.limit.base).min(LONGEST);
            let index = first.as_ref().map(|first| first.index.clone());
            let poll = wgpu::PollType::Wait { submission_index: index, timeout: Some(timeout) };
            match (self.call(WHAT, |raw, _| raw.poll(poll))?, first) {
                (Ok(_), None) => return Ok(()),
                (Ok(_), Some(first)) => {
                    let mut pending = lock(&self.pending);
                    if pending.list.front().is_some_and(|front| front.number == first.number) {
                        pending.list.pop_front();
                        pending.since = Some(Instant::now());
                    }
                }
                (Err(wgpu::PollError::Timeout), _) => {
                    self.hang(timeout);
                    return self.check(WHAT);
                }
                (Err(error), _) => {
                    return Err(DeviceError::Rejected { what: WHAT.to_owned(), reason: error.to_string() });
                }
            }
        }
    }
}

/// With the last user, compiled pipelines are saved.
impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(store) = self.store.as_ref().filter(|_| !self.is_lost()) {
            let _ = guarded(|| store.save());
        }
        let Some((raw, queue)) = self.handles.take() else { return };
        let submitter = self.submitter.take();
        if self.faults.kept.load(Ordering::Acquire) {
            // wgpu waits for the queue when it is dropped, or frees a semaphore twice.
            std::mem::forget((raw, queue));
            return;
        }
        if let Some(submitter) = submitter {
            submitter.end();
        }
        let _ = guarded(|| drop(queue));
        let _ = guarded(|| drop(raw));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_a_wait_follows_the_work() {
        let limit = WaitLimit::new(true, None);
        assert_eq!(limit.of(Work::default()), Duration::from_secs(20));
        let work = Work { flops: 8_000_000_000, commands: 50, first_runs: 3 };
        assert_eq!(limit.of(work), Duration::from_secs(20 + 32 + 1 + 15));
        let hardware = WaitLimit::new(false, Some(Duration::from_secs(1)));
        assert_eq!(hardware.of(work), Duration::from_millis(1000 + 1600 + 1000 + 6000));
        let endless = WaitLimit::new(false, Some(Duration::MAX));
        assert_eq!(endless.of(Work { flops: u64::MAX, commands: u32::MAX, first_runs: u32::MAX }), LONGEST);
    }
}
