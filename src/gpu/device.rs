//! A device: opening it, what it can do, and opening it again after a loss.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::adapter::{self, AdapterSummary, Capabilities};
use super::buffer::{MemoryMeter, MemoryUse};
use super::error::DeviceError;
use super::limits::lacking;
use super::opened::{OUT_OF_MEMORY, Opened, WaitLimit, lock};
use super::profile::{KernelTime, Profile};
use super::refused::{RefusedKernel, RefusedKernels};
use super::tuned::{Tuned, TunedFile};
use super::tuning::{KernelFamily, Lane8Tile, Loads, Tuning};
use crate::guarded::guarded;

/// How to open a device. The default is the best adapter, with the kernels that suit it.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Index of the adapter or any part of its name.
    pub adapter: Option<String>,
    /// Kernel family to use instead of the one that suits the adapter.
    pub family: Option<KernelFamily>,
    /// Limit of storage bindings in bytes, below the adapter's own: simulates a phone on a desktop.
    pub max_binding_bytes: Option<u64>,
    /// Decode steps per submit instead of the number that suits the adapter.
    pub decode_steps: Option<usize>,
    /// The full tile of `linear/matmul_lane8` instead of the one that suits the driver.
    pub lane8_tile: Option<Lane8Tile>,
    /// Where kernels read weights instead of what suits the driver.
    pub loads: Option<Loads>,
    /// Which results of [`tune`](crate::tune::tune) to use.
    pub measurements: Measurements,
    /// How long a submission may take, in addition to the time for its work, before the device counts as
    /// lost. `None`: 10 seconds on hardware, 20 on a software driver.
    pub timeout: Option<Duration>,
}

/// The results of [`tune`](crate::tune::tune) that a device uses.
#[derive(Clone, Debug, Default)]
pub enum Measurements {
    /// Those that are stored for the device, if there are any.
    #[default]
    Stored,
    /// None: the kernels that suit the adapter by rule.
    Ignored,
    /// These.
    Given(Arc<Tuned>),
}

/// An opened adapter. Clones share it; it closes with the last one.
///
/// A driver can lose a device: after a reset, a crash, or a long wait. All calls then fail with
/// [`DeviceError::Lost`], and everything on the device is gone. [`Device::reopen`] opens it again, for all
/// clones.
#[derive(Clone, Debug)]
pub struct Device {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Source,
    capabilities: Capabilities,
    tuning: Tuning,
    tuned_file: TunedFile,
    identity: adapter::Identity,
    refused: Mutex<RefusedKernels>,
    profile: Profile,
    profiling: AtomicBool,
    meter: Arc<MemoryMeter>,
    opened: RwLock<Arc<Opened>>,
    /// Held while the device is opened again, so that this happens once per loss.
    reopening: Mutex<()>,
}

/// Where a device comes from, for opening it again.
#[derive(Debug)]
enum Source {
    Driver(DeviceOptions),
    Noop,
}

impl Device {
    /// Opens the adapter that `options` names, or the best one: discrete before integrated before
    /// virtual before software. Adapters whose limits are too small come last.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::NoAdapter`], [`DeviceError::AdapterNotFound`] if there is none of that name;
    /// * [`DeviceError::Unsupported`] if the limits of the adapter are too small;
    /// * [`DeviceError::Refused`] if the driver gives no device;
    /// * [`DeviceError::Family`] if the adapter cannot run the requested kernel family.
    pub fn open(options: &DeviceOptions) -> Result<Device, DeviceError> {
        let chosen = adapter::choose(options.adapter.as_deref())?;
        let limits = limits(&chosen, options);
        let refused = RefusedKernels::read(&chosen.get_info());
        Self::from_adapter(&chosen, limits, options, Source::Driver(options.clone()), refused)
    }

    /// A device that validates every call but computes nothing, with the limits of a phone. It is for
    /// tests of host code on machines without a driver.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Refused`] if wgpu was built without its noop back end.
    pub fn noop(family: KernelFamily) -> Result<Device, DeviceError> {
        let options = DeviceOptions { family: Some(family), ..DeviceOptions::default() };
        let adapter = adapter::noop()?;
        Self::from_adapter(
            &adapter,
            wgpu::Limits::default(),
            &options,
            Source::Noop,
            RefusedKernels::default(),
        )
    }

    /// The adapters of this machine, in the order of their indices.
    pub fn adapters() -> Vec<AdapterSummary> {
        adapter::summaries()
    }

    fn from_adapter(
        adapter: &wgpu::Adapter,
        limits: wgpu::Limits,
        options: &DeviceOptions,
        source: Source,
        refused: RefusedKernels,
    ) -> Result<Device, DeviceError> {
        let capabilities = Capabilities::of(adapter, &limits);
        // The adapter's own limits: `max_binding_bytes` is the app's choice.
        if let Some(reason) = lacking(&adapter.limits()) {
            return Err(DeviceError::Unsupported { adapter: capabilities.adapter, reason });
        }
        let noop = matches!(source, Source::Noop);
        let tuned_file = TunedFile::of(&adapter.get_info());
        let tuned = match &options.measurements {
            Measurements::Stored if !noop => tuned_file.read().map(Arc::new),
            Measurements::Stored | Measurements::Ignored => None,
            Measurements::Given(tuned) => Some(Arc::clone(tuned)),
        };
        let mut tuning = Tuning::with_tuned(&capabilities, options.family, options.loads, tuned);
        if let Some(steps) = options.decode_steps {
            tuning.decode_steps = steps.max(1);
        }
        if let Some(tile) = options.lane8_tile {
            tuning.lane8_tile = tile;
            tuning.tuned = None;
        }
        if tuning.family == KernelFamily::Lane8 && capabilities.is_narrow() && !noop {
            return Err(DeviceError::Family {
                family: tuning.family.name(),
                needs: "subgroups of at least 8 lanes",
                adapter: capabilities.adapter.clone(),
                has: format!("subgroups of {:?} lanes", capabilities.subgroup_sizes),
            });
        }
        let limit = WaitLimit::new(capabilities.software, options.timeout);
        let opened = open(adapter, limits, limit, 0)?;
        let inner = Inner {
            source,
            identity: adapter::Identity::of(adapter),
            capabilities,
            tuning,
            tuned_file,
            refused: Mutex::new(refused),
            profile: Profile::default(),
            profiling: AtomicBool::new(false),
            meter: Arc::default(),
            opened: RwLock::new(Arc::new(opened)),
            reopening: Mutex::default(),
        };
        Ok(Device { inner: Arc::new(inner) })
    }

    /// Opens the device again if it is lost; otherwise does nothing. All clones then use the new one. Buffers,
    /// models and recordings from before fail with [`DeviceError::Lost`];
    /// [`Model::reload`](crate::model::Model::reload) loads the weights again.
    ///
    /// # Errors
    ///
    /// As [`Device::open`], if the adapter is gone or its driver gives no device.
    pub fn reopen(&self) -> Result<(), DeviceError> {
        let _turn = lock(&self.inner.reopening);
        let lost = self.opened();
        if !lost.is_lost() {
            return Ok(());
        }
        let (chosen, limits) = match &self.inner.source {
            Source::Driver(options) => {
                let chosen = self.inner.identity.find()?;
                let limits = limits(&chosen, options);
                (chosen, limits)
            }
            Source::Noop => (adapter::noop()?, wgpu::Limits::default()),
        };
        // The new one needs the memory of the old one.
        lost.free();
        let opened = Arc::new(open(&chosen, limits, lost.limit(), lost.generation + 1)?);
        *self.inner.opened.write().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    /// The device as it is open now.
    pub(super) fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.inner.opened.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often the device was opened again. Buffers of earlier generations are gone.
    pub(crate) fn generation(&self) -> u32 {
        self.opened().generation
    }

    /// The device's capabilities.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// The kernels and budgets in use.
    pub fn tuning(&self) -> &Tuning {
        &self.inner.tuning
    }

    /// The file with the results of [`tune`](crate::tune::tune) for the devices of this machine. `None` where there
    /// is no cache directory.
    pub fn tuned_file(&self) -> Option<&Path> {
        self.inner.tuned_file.path()
    }

    /// Stores results for this device, in place of earlier ones, or removes them. They apply from the next
    /// [`Device::open`] on.
    ///
    /// # Errors
    ///
    /// The file's error if it cannot be written.
    pub fn store_tuned(&self, tuned: Option<&Tuned>) -> std::io::Result<()> {
        self.inner.tuned_file.write(tuned)
    }

    /// The kernel family for an operation that uses `kernels`, named without the suffix of a family: the
    /// family of [`Device::tuning`], or the other one if the driver refused one of these kernels before.
    pub(crate) fn family(&self, kernels: &[&str]) -> KernelFamily {
        let family = self.inner.tuning.family;
        let refused = lock(&self.inner.refused);
        if refused.list().is_empty() {
            return family;
        }
        let other = match family {
            KernelFamily::Lane8 => KernelFamily::Tiled,
            KernelFamily::Tiled => KernelFamily::Lane8,
        };
        let runs = other == KernelFamily::Tiled || !self.inner.capabilities.is_narrow();
        if refused.any(kernels, family) && !refused.any(kernels, other) && runs { other } else { family }
    }

    /// The file that remembers refused kernels. Delete it to try them again.
    pub fn refused_kernels_file(&self) -> Option<PathBuf> {
        lock(&self.inner.refused).file().map(Path::to_owned)
    }

    /// The kernels that the driver refused, on this or an earlier run. Others are used instead of them.
    pub fn refused_kernels(&self) -> Vec<RefusedKernel> {
        lock(&self.inner.refused).list().to_vec()
    }

    pub(super) fn refuse(&self, kernel: RefusedKernel) {
        lock(&self.inner.refused).add(kernel);
    }

    /// The reason why compiled pipelines are neither read from the cache directory nor stored there: other
    /// users could have written them. `None` if the cache is used.
    pub fn pipeline_cache_fault(&self) -> Option<String> {
        self.opened().store.as_ref()?.fault().map(str::to_owned)
    }

    /// Device memory held by Parr through this device.
    pub fn memory(&self) -> MemoryUse {
        self.inner.meter.read()
    }

    /// Resets the peak of [`Device::memory`] to the current value.
    pub fn reset_peak_memory(&self) {
        self.inner.meter.reset_peak();
    }

    /// Starts or stops timing every dispatch on the device; without timestamps nothing is recorded.
    pub fn set_profiling(&self, on: bool) {
        self.inner.profiling.store(on && self.inner.capabilities.timestamps, Ordering::Relaxed);
    }

    pub(super) fn is_profiling(&self) -> bool {
        self.inner.profiling.load(Ordering::Relaxed)
    }

    /// Time by kernel since the last call, longest first.
    pub fn take_profile(&self) -> Vec<KernelTime> {
        self.inner.profile.take()
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.inner.profile
    }

    pub(super) fn meter(&self) -> Arc<MemoryMeter> {
        Arc::clone(&self.inner.meter)
    }

    /// Whether the device is lost: it cannot be used until [`Device::reopen`], and its contents are lost.
    pub fn is_lost(&self) -> bool {
        self.opened().is_lost()
    }

    /// Whether [`Device::release`] gave the device back. Such a device is never opened again automatically.
    pub fn is_released(&self) -> bool {
        self.opened().is_released()
    }

    /// Releases the device and all its memory to the driver at once, even if clones exist: for an app that
    /// goes into the background. Running calls, and every later call until [`Device::reopen`], fail with
    /// [`DeviceError::Lost`].
    pub fn release(&self) {
        self.opened().release();
    }
}

/// The limits to request from `adapter`.
fn limits(adapter: &wgpu::Adapter, options: &DeviceOptions) -> wgpu::Limits {
    let mut limits = adapter.limits();
    if let Some(bytes) = options.max_binding_bytes {
        limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(bytes);
    }
    limits
}

fn open(
    adapter: &wgpu::Adapter,
    limits: wgpu::Limits,
    limit: WaitLimit,
    generation: u32,
) -> Result<Opened, DeviceError> {
    let wanted = wgpu::Features::SUBGROUP
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
        | wgpu::Features::PIPELINE_CACHE;
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("parr"),
        required_features: adapter.features() & wanted,
        required_limits: limits,
        experimental_features: wgpu::ExperimentalFeatures::disabled(),
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    let refused = |reason: String| {
        if OUT_OF_MEMORY.iter().any(|text| reason.contains(text)) {
            return DeviceError::OutOfMemory { what: "a new device".to_owned(), reason };
        }
        DeviceError::Refused { adapter: adapter.get_info().name, reason }
    };
    let (raw, queue) = guarded(|| pollster::block_on(adapter.request_device(&descriptor)))
        .map_err(refused)?
        .map_err(|error| refused(error.to_string()))?;
    Opened::new(raw, queue, adapter, limit, generation)
}
