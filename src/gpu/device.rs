//! An opened adapter: allocation, upload, read-back and device errors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::adapter::{self, AdapterSummary, Capabilities};
use super::buffer::{Allocation, Buffer, MemoryMeter, MemoryUse};
use super::error::DeviceError;
use super::kernel::Specialization;
use super::pipeline::ComputePipeline;
use super::pipeline_store::PipelineStore;
use super::profile::{KernelTime, Profile};
use super::recording::Binding;
use super::tuning::{KernelFamily, Lane8Tile, Tuning};

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
}

/// An opened adapter. Clones share it; it closes with the last one.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) raw: wgpu::Device,
    queue: wgpu::Queue,
    pub(super) capabilities: Capabilities,
    pub(super) tuning: Tuning,
    pub(super) pipelines: Mutex<HashMap<(&'static str, Specialization), Arc<ComputePipeline>>>,
    pub(super) store: Option<PipelineStore>,
    pub(super) profile: Profile,
    pub(super) profiling: AtomicBool,
    pub(super) timestamp_period: f32,
    meter: Arc<MemoryMeter>,
    faults: Arc<Faults>,
    staging: Mutex<Option<wgpu::Buffer>>,
    unused: wgpu::Buffer,
    /// Writes since the last submit.
    staged: AtomicU32,
}

/// With the last clone, compiled pipelines are saved.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(store) = self.store.as_ref().filter(|_| !self.faults.lost.load(Ordering::Acquire)) {
            store.save();
        }
    }
}

/// Errors that the driver reported outside a call.
#[derive(Debug, Default)]
struct Faults {
    lost: AtomicBool,
    lost_reason: Mutex<String>,
    rejected: Mutex<Option<String>>,
}

/// Bytes uploaded before the host waits: staging memory stays small for a model of any size.
const UPLOAD_WINDOW_BYTES: u64 = 16 << 20;

/// Writes after which a submit is forced. wgpu holds written data, and its target buffer even if that is
/// dropped, until the next submit. An app that cancels all its sessions before they begin would never
/// submit.
const STAGED_WRITES: u32 = 32;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Device {
    /// Opens the adapter that `options` names, or the best one: discrete before integrated before
    /// virtual before software.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::NoAdapter`], [`DeviceError::AdapterNotFound`] if there is none of that name;
    /// * [`DeviceError::Refused`] if the driver gives no device;
    /// * [`DeviceError::Family`] if the adapter cannot run the requested kernel family.
    pub fn open(options: &DeviceOptions) -> Result<Device, DeviceError> {
        let instance = adapter::instance();
        let chosen = adapter::choose(&instance, options.adapter.as_deref())?;
        let mut limits = chosen.limits();
        if let Some(bytes) = options.max_binding_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(bytes);
        }
        Self::from_adapter(&chosen, limits, options)
    }

    /// A device that validates every call but computes nothing, with the limits of a phone. It is for
    /// tests of host code on machines without a driver.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Refused`] if wgpu was built without its noop back end.
    pub fn noop(family: KernelFamily) -> Result<Device, DeviceError> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
        let instance = wgpu::Instance::new(descriptor);
        let adapter =
            pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).map_err(
                |error| DeviceError::Refused { adapter: "noop".to_owned(), reason: error.to_string() },
            )?;
        let options = DeviceOptions { family: Some(family), ..DeviceOptions::default() };
        Self::from_adapter(&adapter, wgpu::Limits::default(), &options)
    }

    /// The adapters of this machine, in the order of their indices.
    pub fn adapters() -> Vec<AdapterSummary> {
        let adapters = adapter::enumerate(&adapter::instance());
        adapters.iter().enumerate().map(|(index, adapter)| adapter::summary(index, adapter)).collect()
    }

    fn from_adapter(
        adapter: &wgpu::Adapter,
        limits: wgpu::Limits,
        options: &DeviceOptions,
    ) -> Result<Device, DeviceError> {
        let capabilities = Capabilities::of(adapter, &limits);
        let noop = adapter.get_info().backend == wgpu::Backend::Noop;
        let mut tuning = Tuning::for_adapter(&capabilities, options.family);
        if let Some(steps) = options.decode_steps {
            tuning.decode_steps = steps.max(1);
        }
        if let Some(tile) = options.lane8_tile {
            tuning.lane8_tile = tile;
        }
        let narrow = !capabilities.subgroups || capabilities.subgroup_sizes.0 < 8;
        if tuning.family == KernelFamily::Lane8 && narrow && !noop {
            return Err(DeviceError::Family {
                family: tuning.family.name(),
                needs: "subgroups of at least 8 lanes",
                adapter: capabilities.adapter.clone(),
                has: format!("subgroups of {:?} lanes", capabilities.subgroup_sizes),
            });
        }
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
        let (raw, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
            DeviceError::Refused { adapter: capabilities.adapter.clone(), reason: error.to_string() }
        })?;
        let faults = Arc::new(Faults::default());
        let sink = Arc::clone(&faults);
        raw.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&sink.rejected).get_or_insert_with(|| error.to_string());
        }));
        let sink = Arc::clone(&faults);
        raw.set_device_lost_callback(move |reason, message| {
            *lock(&sink.lost_reason) = format!("{reason:?}: {message}");
            sink.lost.store(true, Ordering::Release);
        });
        let store = PipelineStore::open(&raw, adapter);
        let unused = raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some("unused"),
            size: 16,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let inner = Inner {
            store,
            timestamp_period: queue.get_timestamp_period(),
            raw,
            queue,
            capabilities,
            tuning,
            pipelines: Mutex::default(),
            profile: Profile::default(),
            profiling: AtomicBool::new(false),
            meter: Arc::default(),
            faults,
            staging: Mutex::default(),
            unused,
            staged: AtomicU32::new(0),
        };
        Ok(Device { inner: Arc::new(inner) })
    }

    /// The device's capabilities.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// The kernels and budgets in use.
    pub fn tuning(&self) -> &Tuning {
        &self.inner.tuning
    }

    /// The reason why compiled pipelines are neither read from the cache directory nor stored there: other
    /// users could have written them. `None` if the cache is used.
    pub fn pipeline_cache_fault(&self) -> Option<&str> {
        self.inner.store.as_ref()?.fault()
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

    /// Time by kernel since the last call, longest first.
    pub fn take_profile(&self) -> Vec<KernelTime> {
        self.inner.profile.take()
    }

    /// A zeroed buffer of `len` elements; `what` names it in errors. Never smaller than 16 bytes,
    /// so that an empty tensor can still be bound.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if it exceeds the largest buffer or the largest binding.
    pub fn buffer<T: bytemuck::Pod>(&self, what: &str, len: usize) -> Result<Buffer<T>, DeviceError> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64).next_multiple_of(16).max(16);
        let capabilities = &self.inner.capabilities;
        let (allowed, limit) = if capabilities.max_binding_bytes <= capabilities.max_buffer_bytes {
            (capabilities.max_binding_bytes, "largest storage binding, in bytes")
        } else {
            (capabilities.max_buffer_bytes, "largest buffer, in bytes")
        };
        if bytes > allowed {
            return Err(DeviceError::Limit { what: what.to_owned(), needed: bytes, allowed, limit });
        }
        let raw = self.inner.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        self.check(what)?;
        Ok(Buffer::new(Allocation::new(raw, Arc::clone(&self.inner.meter)), len))
    }

    /// A buffer to bind where the chosen specialisation writes nothing: WebGPU does not allow binding a
    /// buffer for writing twice in one dispatch.
    pub fn unused(&self) -> Binding {
        Binding { buffer: self.inner.unused.clone() }
    }

    /// A buffer that holds `data`.
    ///
    /// # Errors
    ///
    /// As [`Device::buffer`].
    pub fn upload<T: bytemuck::Pod>(&self, what: &str, data: &[T]) -> Result<Buffer<T>, DeviceError> {
        let buffer = self.buffer(what, data.len())?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    /// Overwrites elements `at..at + data.len()` before the next submit. Elements must start and end
    /// at multiples of 4 bytes. Large writes are submitted in windows, and small ones after a fixed number
    /// of writes, so that staging memory stays bounded.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Lost`] or [`DeviceError::Rejected`].
    pub fn write<T: bytemuck::Pod>(
        &self,
        buffer: &Buffer<T>,
        at: usize,
        data: &[T],
    ) -> Result<(), DeviceError> {
        debug_assert!(at + data.len() <= buffer.len(), "write past the end of a buffer");
        let mut offset = (at * size_of::<T>()) as u64;
        for window in bytemuck::cast_slice::<T, u8>(data).chunks(UPLOAD_WINDOW_BYTES as usize) {
            self.stage(&buffer.allocation.raw, offset, window);
            offset += window.len() as u64;
            if window.len() as u64 == UPLOAD_WINDOW_BYTES {
                self.submit(None);
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Writes `bytes` before the next submit.
    pub(super) fn stage(&self, raw: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.inner.queue.write_buffer(raw, offset, bytes);
        if self.inner.staged.fetch_add(1, Ordering::Relaxed) + 1 >= STAGED_WRITES {
            self.submit(None);
        }
    }

    /// Submits `commands`, and all staged writes, to the driver.
    pub(super) fn submit(&self, commands: Option<wgpu::CommandBuffer>) {
        self.inner.staged.store(0, Ordering::Relaxed);
        self.inner.queue.submit(commands);
    }

    /// Reads elements `at..at + len`, after all earlier submits.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Lost`] or [`DeviceError::Rejected`].
    pub fn read<T: bytemuck::Pod>(
        &self,
        buffer: &Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<Vec<T>, DeviceError> {
        debug_assert!(at + len <= buffer.len(), "read past the end of a buffer");
        if len == 0 {
            return Ok(Vec::new());
        }
        let offset = (at * size_of::<T>()) as u64;
        let bytes = (len * size_of::<T>()) as u64;
        let copied = bytes.next_multiple_of(4);
        // Fresh staging pages are faulted in one by one, so the last staging buffer is reused.
        let mut slot = lock(&self.inner.staging);
        let staging = match slot.take().filter(|staging| staging.size() >= copied) {
            Some(staging) => staging,
            None => self.inner.raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: copied.next_power_of_two(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
        };
        let mut encoder = self.inner.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffer.allocation.raw, offset, &staging, 0, copied);
        self.submit(Some(encoder.finish()));
        staging.map_async(wgpu::MapMode::Read, 0..copied, |_| {});
        self.wait()?;
        let mapped = staging.get_mapped_range(0..copied).map_err(|error| DeviceError::Rejected {
            what: "read-back".to_owned(),
            reason: error.to_string(),
        })?;
        let mut data = vec![T::zeroed(); len];
        bytemuck::cast_slice_mut::<T, u8>(&mut data).copy_from_slice(&mapped[..bytes as usize]);
        drop(mapped);
        staging.unmap();
        *slot = Some(staging);
        Ok(data)
    }

    /// Waits for all submits.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Lost`] if the device is lost, [`DeviceError::Rejected`] if the driver refused
    /// a command since the last check.
    pub fn wait(&self) -> Result<(), DeviceError> {
        let polled = self.inner.raw.poll(wgpu::PollType::wait_indefinitely());
        self.check("a submission")?;
        polled.map(|_| ()).map_err(|error| DeviceError::Rejected {
            what: "a submission".to_owned(),
            reason: error.to_string(),
        })
    }

    /// Whether the device is lost: it cannot be used any more, and its contents are lost.
    pub fn is_lost(&self) -> bool {
        self.inner.faults.lost.load(Ordering::Acquire)
    }

    /// Releases the device and all its memory to the driver at once, even if clones exist: for an app that
    /// goes into the background. Running calls, and every later call, fail with [`DeviceError::Lost`].
    pub fn release(&self) {
        self.inner.raw.destroy();
        // Drivers report the loss at any later time, so it is recorded here.
        lock(&self.inner.faults.lost_reason).push_str("it was released");
        self.inner.faults.lost.store(true, Ordering::Release);
    }

    /// Returns the errors that the driver reported since the last check.
    pub(super) fn check(&self, what: &str) -> Result<(), DeviceError> {
        let faults = &self.inner.faults;
        if faults.lost.load(Ordering::Acquire) {
            return Err(DeviceError::Lost { reason: lock(&faults.lost_reason).clone() });
        }
        match lock(&faults.rejected).take() {
            Some(reason) => Err(DeviceError::Rejected { what: what.to_owned(), reason }),
            None => Ok(()),
        }
    }

    pub(super) fn raw(&self) -> &wgpu::Device {
        &self.inner.raw
    }
}
