//! Activations on the device.

use crate::gpu::{Buffer, Device, DeviceError};

/// Device memory, in bytes, that [`Device::buffer`] allocates for `len` elements.
pub(crate) fn buffer_bytes<T>(len: usize) -> u64 {
    (len as u64 * size_of::<T>() as u64).next_multiple_of(16).max(16)
}

/// A matrix of f32 activations, `(rows, stride)` in memory; only the first `width` columns hold values.
///
/// The stride is the width rounded up to 32, the block of every weight format; the columns beyond the
/// width are zero and stay zero, so that no kernel needs a special case for the last block.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The values.
    pub buffer: Buffer<f32>,
    /// Maximum number of rows.
    pub rows: usize,
    /// Columns that hold values.
    pub width: usize,
    /// Distance between two rows in elements, a multiple of 32.
    pub stride: usize,
}

impl Activation {
    /// Zeroed activations of `rows` by `width`; `what` names them in errors.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if they exceed a binding.
    pub fn new(device: &Device, what: &str, rows: usize, width: usize) -> Result<Self, DeviceError> {
        let stride = width.next_multiple_of(32);
        Ok(Activation { buffer: device.buffer(what, rows * stride)?, rows, width, stride })
    }

    /// Device memory of such activations, in bytes.
    pub(crate) fn bytes(rows: usize, width: usize) -> u64 {
        buffer_bytes::<f32>(rows * width.next_multiple_of(32))
    }

    /// The stride in `vec4`s, the unit of kernels.
    pub(super) fn stride_quads(&self) -> u32 {
        (self.stride / 4) as u32
    }
}
