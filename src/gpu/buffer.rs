//! Typed device buffers whose bytes are counted.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::recording::Binding;

/// Device memory held through one [`super::Device`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes allocated now.
    pub current_bytes: u64,
    /// Peak of the allocated bytes.
    pub peak_bytes: u64,
}

/// Counts allocated bytes; shared by the device and its buffers.
#[derive(Debug, Default)]
pub(super) struct MemoryMeter {
    current: AtomicU64,
    peak: AtomicU64,
}

impl MemoryMeter {
    pub(super) fn add(&self, bytes: u64) {
        let now = self.current.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: u64) {
        self.current.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn reset_peak(&self) {
        self.peak.store(self.current.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> MemoryUse {
        MemoryUse {
            current_bytes: self.current.load(Ordering::Relaxed),
            peak_bytes: self.peak.load(Ordering::Relaxed),
        }
    }
}

/// The allocation behind a [`Buffer`]; freed, and no longer counted, with the last clone.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) raw: wgpu::Buffer,
    /// Generation of the device that it belongs to.
    pub(super) generation: u32,
    meter: Arc<MemoryMeter>,
}

impl Allocation {
    pub(super) fn new(raw: wgpu::Buffer, generation: u32, meter: Arc<MemoryMeter>) -> Self {
        meter.add(raw.size());
        Allocation { raw, generation, meter }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.meter.remove(self.raw.size());
    }
}

/// `len` elements of `T` on the device, initially zero. Clones share the memory.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(super) allocation: Arc<Allocation>,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Buffer { allocation: Arc::clone(&self.allocation), len: self.len, element: PhantomData }
    }
}

impl<T: bytemuck::Pod> Buffer<T> {
    pub(super) fn new(allocation: Allocation, len: usize) -> Self {
        Buffer { allocation: Arc::new(allocation), len, element: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size in bytes, padding included.
    pub fn bytes(&self) -> u64 {
        self.allocation.raw.size()
    }

    /// The whole buffer as a binding of a kernel.
    pub fn binding(&self) -> Binding {
        Binding::buffer(&self.allocation.raw, self.allocation.generation)
    }
}
