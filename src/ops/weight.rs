//! Quantized matrices on the device, in slices that fit its bindings.

use crate::gpu::{Binding, Buffer, Device, DeviceError, Loads, Specialization, Texture};
use crate::quant::Quant;

/// Rows of a matrix on the host, to become part of a [`Weight`].
#[derive(Clone, Copy, Debug)]
pub struct LinearPart<'a> {
    /// Format of the bytes.
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
    pub(super) quants: Words,
    pub(super) scales: Words,
}

impl Slice {
    /// The slots that read its words and decode its format.
    pub(super) fn slots(&self) -> [(&'static str, &'static str); 2] {
        slots(self.quant, self.quants.loads())
    }
}

/// The slots of a kernel that reads a weight of format `quant`.
pub(super) fn slots(quant: Quant, loads: Loads) -> [(&'static str, &'static str); 2] {
    let words = match loads {
        Loads::Buffers => "read/weight_buffer",
        Loads::Textures => "read/weight_texture",
    };
    [("weight_words", words), ("weight", quant.fragment())]
}

/// The slot of a `lane8` product for the operand that is no weight.
pub(super) fn operand_slot(loads: Loads) -> (&'static str, &'static str) {
    match loads {
        Loads::Buffers => ("operand", "read/operand_buffer"),
        Loads::Textures => ("operand", "read/operand_texture"),
    }
}

/// The specialisations that `make` gives for each format and place of its words.
pub(super) fn each_weight(make: impl Fn(Quant, Loads) -> Vec<Specialization>) -> Vec<Specialization> {
    let places = [Loads::Buffers, Loads::Textures];
    let pairs = Quant::ALL.iter().flat_map(|&quant| places.map(|loads| (quant, loads)));
    pairs.flat_map(|(quant, loads)| make(quant, loads)).collect()
}

/// Where a slice's words are.
#[derive(Clone, Debug)]
pub(super) enum Words {
    Buffer(Buffer<u32>),
    Texture(Texture),
}

impl Words {
    /// Moves `buffer` to where kernels read it.
    fn place(device: &Device, what: &str, buffer: Buffer<u32>, loads: Loads) -> Result<Self, DeviceError> {
        match loads {
            Loads::Buffers => Ok(Words::Buffer(buffer)),
            Loads::Textures => Ok(Words::Texture(device.texture_of(what, &buffer)?)),
        }
    }

    pub(super) fn loads(&self) -> Loads {
        match self {
            Words::Buffer(_) => Loads::Buffers,
            Words::Texture(_) => Loads::Textures,
        }
    }

    pub(super) fn binding(&self) -> Binding {
        match self {
            Words::Buffer(buffer) => buffer.binding(),
            Words::Texture(texture) => texture.binding(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Words::Buffer(buffer) => buffer.bytes(),
            Words::Texture(texture) => texture.bytes(),
        }
    }
}

/// A matrix `(rows, cols)` whose weights stay quantized in device memory.
///
/// It may join several host matrices with equal `cols` (q, k and v in one), each with its own
/// format. A matrix that exceeds the device's largest binding is split by rows.
#[derive(Clone, Debug)]
pub struct Weight {
    pub(super) slices: Vec<Slice>,
    rows: usize,
    cols: usize,
    bytes: u64,
    pub(super) bias: Option<Buffer<f32>>,
}

/// Host bytes repacked at a time: bounds the memory of a load in addition to the mapped file.
const PACK_BYTES: usize = 4 << 20;

/// Slices are cut, and rows repacked, in multiples of this: some formats put the scales of two blocks
/// into one word.
const SLICE_ROWS: usize = 32;

/// Whether `below` can follow `above` in one slice: the same format, and no word shared between them.
fn joins(above: &LinearPart<'_>, below: &LinearPart<'_>, cols: usize) -> bool {
    let shared = above.quant.device_words().weights;
    above.quant == below.quant && (above.rows * cols.next_multiple_of(32)).is_multiple_of(shared)
}

impl Weight {
    /// Uploads `parts`, one below the other, repacked for the kernels. Neighbours of the same format share
    /// a slice and therefore a dispatch.
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
        Self::upload_to(device, what, parts, cols, device.tuning().loads)
    }

    /// [`Weight::upload`] to where `loads` reads, for measurements.
    pub(crate) fn upload_to(
        device: &Device,
        what: &str,
        parts: &[LinearPart<'_>],
        cols: usize,
        loads: Loads,
    ) -> Result<Self, DeviceError> {
        let mut weight = Weight { slices: Vec::new(), rows: 0, cols, bytes: 0, bias: None };
        for part in parts {
            let row_bytes = part.quant.row_bytes(cols).expect("rows are whole blocks");
            assert_eq!(part.bytes.len(), row_bytes * part.rows, "bytes of `{what}`");
        }
        for run in parts.chunk_by(|above, below| joins(above, below, cols)) {
            weight.push_run(device, what, run, loads)?;
        }
        Ok(weight)
    }

    /// Uploads one run of parts in one format, in the fewest slices that the device's bindings allow.
    fn push_run(
        &mut self,
        device: &Device,
        what: &str,
        run: &[LinearPart<'_>],
        loads: Loads,
    ) -> Result<(), DeviceError> {
        let quant = run[0].quant;
        let widest = device.capabilities().max_binding_bytes;
        let widest = match loads {
            Loads::Buffers => widest,
            Loads::Textures => widest.min(device.max_texture_bytes()),
        };
        let sample = quant.packed_len(SLICE_ROWS, self.cols).expect("a few rows fit memory");
        let sample_bytes = 4 * sample.quants.max(sample.scales) as u64;
        let most = (widest / sample_bytes) as usize * SLICE_ROWS;
        if most == 0 {
            return Err(DeviceError::Limit {
                what: what.to_owned(),
                needed: sample_bytes,
                allowed: widest,
                limit: "largest storage binding, in bytes",
            });
        }
        let total: usize = run.iter().map(|part| part.rows).sum();
        let row_bytes = run[0].bytes.len() / run[0].rows.max(1);
        // Whole groups of rows, so that formats that pack two blocks' scales into a word stay aligned.
        let step = (PACK_BYTES / row_bytes.max(1)).next_multiple_of(SLICE_ROWS).min(most);
        let mut rows = run.iter().flat_map(|part| part.bytes.chunks(step * row_bytes.max(1)));
        let mut left: &[u8] = &[];
        for first in (0..total).step_by(most) {
            let slice_rows = most.min(total - first);
            let size = quant.packed_len(slice_rows, self.cols).expect("a slice fits memory");
            let (quants, scales) = (device.buffer(what, size.quants)?, device.buffer(what, size.scales)?);
            let (mut done, mut quants_at, mut scales_at) = (0, 0, 0);
            while done < slice_rows {
                if left.is_empty() {
                    left = rows.next().expect("each part holds its number of rows");
                }
                let taken = (left.len() / row_bytes).min(slice_rows - done);
                let (now, later) = left.split_at(taken * row_bytes);
                let packed = quant.pack(now, taken, self.cols);
                device.write(&quants, quants_at, &packed.quants)?;
                device.write(&scales, scales_at, &packed.scales)?;
                quants_at += packed.quants.len();
                scales_at += packed.scales.len();
                done += taken;
                left = later;
            }
            let slice = Slice {
                quant,
                first_row: self.rows,
                rows: slice_rows,
                quants: Words::place(device, what, quants, loads)?,
                scales: Words::place(device, what, scales, loads)?,
            };
            self.rows += slice_rows;
            self.bytes += slice.quants.bytes() + slice.scales.bytes();
            self.slices.push(slice);
        }
        Ok(())
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
