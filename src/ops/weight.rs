//! Quantized matrices on the device, in slices that fit its bindings.

use crate::gpu::{Buffer, Device, DeviceError};
use crate::quant::Quant;

/// Rows of a matrix on the host, to become part of a [`Weight`].
#[derive(Clone, Copy, Debug)]
pub struct LinearPart<'a> {
    /// How the bytes are coded.
    pub quant: Quant,
    /// Number of rows.
    pub rows: usize,
    /// `rows` rows of whole blocks.
    pub bytes: &'a [u8],
}

/// One run of rows in one format, small enough for one binding.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) quant: Quant,
    pub(super) first_row: usize,
    pub(super) rows: usize,
    pub(super) quants: Buffer<u32>,
    pub(super) scales: Buffer<u32>,
}

/// A matrix `(rows, cols)` whose weights stay quantized in device memory.
///
/// It may join several host matrices with equal `cols` (q, k and v in one), and each may have a
/// format of its own. What exceeds the device's largest binding is split by rows.
#[derive(Clone, Debug)]
pub struct Weight {
    pub(super) slices: Vec<Slice>,
    rows: usize,
    cols: usize,
    bytes: u64,
    pub(super) bias: Option<Buffer<f32>>,
}

/// Host bytes repacked at a time: bounds what a load holds in memory beside the mapped file.
const PACK_BYTES: usize = 4 << 20;

impl Weight {
    /// Uploads `parts`, one below the other, repacked for the kernels.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if a single row exceeds a binding, or the device is out of memory.
    ///
    /// # Panics
    ///
    /// If a part's bytes are not `rows` rows of whole blocks: the checkpoint reader checks that.
    pub fn upload(
        device: &Device,
        what: &str,
        parts: &[LinearPart<'_>],
        cols: usize,
    ) -> Result<Self, DeviceError> {
        let mut weight = Weight { slices: Vec::new(), rows: 0, cols, bytes: 0, bias: None };
        for part in parts {
            let row_bytes = part.quant.row_bytes(cols).expect("rows are whole blocks");
            assert_eq!(part.bytes.len(), row_bytes * part.rows, "bytes of `{what}`");
            let widest = device.capabilities().max_binding_bytes;
            let one = part.quant.packed_len(32, cols).expect("a row fits memory");
            let per_32_rows = 4 * one.quants.max(one.scales) as u64;
            // Slices of a multiple of 32 rows: two blocks may share a word of scales.
            let most = (widest / per_32_rows.max(1) * 32) as usize;
            if most == 0 {
                return Err(DeviceError::Limit {
                    what: what.to_owned(),
                    needed: per_32_rows,
                    allowed: widest,
                    limit: "largest storage binding, in bytes",
                });
            }
            for first in (0..part.rows).step_by(most) {
                let rows = most.min(part.rows - first);
                let bytes = &part.bytes[first * row_bytes..(first + rows) * row_bytes];
                weight.push(device, what, part.quant, rows, bytes)?;
            }
        }
        Ok(weight)
    }

    fn push(
        &mut self,
        device: &Device,
        what: &str,
        quant: Quant,
        rows: usize,
        bytes: &[u8],
    ) -> Result<(), DeviceError> {
        let size = quant.packed_len(rows, self.cols).expect("a slice fits memory");
        let slice = Slice {
            quant,
            first_row: self.rows,
            rows,
            quants: device.buffer(what, size.quants)?,
            scales: device.buffer(what, size.scales)?,
        };
        let row_bytes = bytes.len() / rows.max(1);
        let step = (PACK_BYTES / row_bytes.max(1)).max(32).next_multiple_of(32);
        let (mut quants_at, mut scales_at) = (0, 0);
        for chunk in bytes.chunks(step * row_bytes.max(1)) {
            let packed = quant.pack(chunk, chunk.len() / row_bytes.max(1), self.cols);
            device.write(&slice.quants, quants_at, &packed.quants)?;
            device.write(&slice.scales, scales_at, &packed.scales)?;
            quants_at += packed.quants.len();
            scales_at += packed.scales.len();
        }
        self.rows += rows;
        self.bytes += slice.quants.bytes() + slice.scales.bytes();
        self.slices.push(slice);
        Ok(())
    }

    /// This matrix with the rows of `below` under its own; both have the same `cols`, and no bias yet.
    pub fn stacked(mut self, below: Weight) -> Self {
        assert_eq!(self.cols, below.cols, "stacked matrices take the same input");
        let first = self.rows;
        self.slices.extend(below.slices.into_iter().map(|slice| Slice { first_row: first + slice.first_row, ..slice }));
        self.rows += below.rows;
        self.bytes += below.bytes;
        self
    }

    /// Adds a bias of one value per row.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`].
    pub fn with_bias(mut self, device: &Device, what: &str, bias: &[f32]) -> Result<Self, DeviceError> {
        assert_eq!(bias.len(), self.rows, "bias of `{what}`");
        let buffer = device.upload(what, bias)?;
        self.bytes += buffer.bytes();
        self.bias = Some(buffer);
        Ok(self)
    }

    /// Number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Blocks of 32 per row, padding included.
    pub(super) fn blocks(&self) -> usize {
        self.cols.div_ceil(32)
    }

    /// Device memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
