//! Allocation, upload and read-back.

use std::sync::Arc;

use super::buffer::{Allocation, Buffer};
use super::device::Device;
use super::error::DeviceError;
use super::opened::{Opened, Work, lock};
use super::recording::Binding;

/// Bytes uploaded before the host waits: staging memory stays small for a model of any size.
const UPLOAD_WINDOW_BYTES: u64 = 16 << 20;

impl Device {
    /// A zeroed buffer of `len` elements; `what` names it in errors. Never smaller than 16 bytes,
    /// so that an empty tensor can still be bound.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::Limit`] if it exceeds the largest buffer or the largest binding;
    /// * [`DeviceError::OutOfMemory`] if the device has no memory left.
    pub fn buffer<T: bytemuck::Pod>(&self, what: &str, len: usize) -> Result<Buffer<T>, DeviceError> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let bytes = bytes.checked_next_multiple_of(16).unwrap_or(u64::MAX).max(16);
        let capabilities = self.capabilities();
        let (allowed, limit) = if capabilities.max_binding_bytes <= capabilities.max_buffer_bytes {
            (capabilities.max_binding_bytes, "largest storage binding, in bytes")
        } else {
            (capabilities.max_buffer_bytes, "largest buffer, in bytes")
        };
        if bytes > allowed {
            return Err(DeviceError::Limit { what: what.to_owned(), needed: bytes, allowed, limit });
        }
        let opened = self.opened();
        let raw = opened.call(what, |raw, _| {
            raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size: bytes,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_DST
                    | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        })?;
        Ok(Buffer::new(Allocation::new(raw, opened.generation, self.meter()), len))
    }

    /// A buffer to bind where the chosen specialisation reads or writes nothing: WebGPU does not allow
    /// binding a buffer for writing twice in one dispatch.
    pub fn unused(&self) -> Binding {
        let opened = self.opened();
        Binding::buffer(&opened.unused, opened.generation)
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
        let opened = self.opened_for(buffer)?;
        let mut offset = (at * size_of::<T>()) as u64;
        for window in bytemuck::cast_slice::<T, u8>(data).chunks(UPLOAD_WINDOW_BYTES as usize) {
            opened.stage(&buffer.allocation.raw, offset, window)?;
            offset += window.len() as u64;
            if window.len() as u64 == UPLOAD_WINDOW_BYTES {
                opened.submit("an upload", |_| (None, Work::default()))?;
                opened.wait()?;
            }
        }
        Ok(())
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
        const WHAT: &str = "read-back";
        debug_assert!(at + len <= buffer.len(), "read past the end of a buffer");
        if len == 0 {
            return Ok(Vec::new());
        }
        let opened = self.opened_for(buffer)?;
        let offset = (at * size_of::<T>()) as u64;
        let bytes = (len * size_of::<T>()) as u64;
        let copied = bytes.next_multiple_of(4);
        // Fresh staging pages are faulted in one by one, so the last staging buffer is reused.
        let mut slot = lock(&opened.staging);
        let staging = match slot.take().filter(|staging| staging.size() >= copied) {
            Some(staging) => staging,
            None => opened.call(WHAT, |raw, _| {
                raw.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(WHAT),
                    size: copied.next_power_of_two(),
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })?,
        };
        opened.submit(WHAT, |raw| {
            let mut encoder = raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&buffer.allocation.raw, offset, &staging, 0, copied);
            (Some(encoder.finish()), Work { commands: 1, ..Work::default() })
        })?;
        let mut data = vec![T::zeroed(); len];
        self.read_mapped(&opened, WHAT, &staging, copied, |mapped| {
            bytemuck::cast_slice_mut::<T, u8>(&mut data).copy_from_slice(&mapped[..bytes as usize]);
        })?;
        *slot = Some(staging);
        Ok(data)
    }

    /// Waits for all submits, then passes the first `bytes` of `buffer` to `take`.
    pub(super) fn read_mapped(
        &self,
        opened: &Opened,
        what: &'static str,
        buffer: &wgpu::Buffer,
        bytes: u64,
        take: impl FnOnce(&[u8]),
    ) -> Result<(), DeviceError> {
        opened.call(what, |_, _| buffer.map_async(wgpu::MapMode::Read, 0..bytes, |_| {}))?;
        opened.wait()?;
        opened
            .call(what, |_, _| {
                let mapped = buffer.get_mapped_range(0..bytes)?;
                take(&mapped);
                drop(mapped);
                buffer.unmap();
                Ok(())
            })?
            .map_err(|error: wgpu::MapRangeError| DeviceError::Rejected {
                what: what.to_owned(),
                reason: error.to_string(),
            })
    }

    /// Waits for all submits.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::Lost`] if the device is lost, or if a submission takes much longer than its work
    ///   explains;
    /// * [`DeviceError::OutOfMemory`] if the device had no memory left for a command;
    /// * [`DeviceError::Rejected`] if the driver refused a command since the last check.
    pub fn wait(&self) -> Result<(), DeviceError> {
        self.opened().wait()
    }

    /// The opened device, if `buffer` belongs to it.
    fn opened_for<T: bytemuck::Pod>(&self, buffer: &Buffer<T>) -> Result<Arc<Opened>, DeviceError> {
        let opened = self.opened();
        if buffer.allocation.generation != opened.generation {
            return Err(DeviceError::stale());
        }
        Ok(opened)
    }
}
