//! How weights are stored: one file per format or family of formats, one line per format in `FORMATS`.
//!
//! A format has two layouts. The **file** layout is ggml's, byte for byte, and
//! [`Quant::decode`] and [`Quant::encode`] turn it into f32 and back. The **device** layout, made by
//! [`Quant::pack`], holds the same integers and scales, reordered so that a kernel reads any 32
//! weights of a row with aligned `vec4<u32>` loads. The WGSL that reads it is [`Quant::fragment`].
//! Nothing is rounded in between, so `scale * value + offset` in the kernel is the decoded weight.
//!
//! # Device layout
//!
//! Rows are cut into *blocks* of 32 weights (rows of an unquantized format are padded with zeros to
//! a multiple of 32), and block `b` of row `r` has index `r * cols.div_ceil(32) + b`. A *quad* is
//! the four neighbours `4j .. 4j + 4` of a block, one in each byte of a word, so every reader
//! below ends in one mask and one `unpack4xU8`:
//!
//! | bits | words a block | quad `j` |
//! |------|---------------|----------|
//! | 4 | 4 | `(word[j & 3] >> (j & 4)) & 0x0F0F0F0F`, which is ggml's own q4_0 order |
//! | 2 | 2 | `(word[j / 4] >> 2 * (j & 3)) & 0x03030303` |
//! | 1 | 1 | `(word >> j) & 0x01010101` |

mod bf16;
mod f16;
mod f32;
mod fit;
mod grid;
mod grids;
mod iq2;
mod iq3;
mod iq4_nl;
mod iq4_xs;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod quads;
mod six_bit;
mod table;

use table::{FORMATS, Format};

/// Weights in one block of the device layout, the same for all formats.
pub const DEVICE_BLOCK: usize = 32;

/// How the weights of one tensor are stored.
///
/// The names are ggml's; `Q2K` to `Q6K` are its k-quants, whose blocks of 256 weights share a
/// two-level scale.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quant {
    /// 32-bit floats, not quantized.
    F32,
    /// IEEE half floats, not quantized.
    F16,
    /// The upper 16 bits of an f32, not quantized.
    Bf16,
    /// 4 bits and a scale; 4.5 bits a weight.
    Q4_0,
    /// 4 bits, a scale and an offset; 5 bits a weight.
    Q4_1,
    /// 4 bits that choose one of 16 fixed levels, and a scale; 4.5 bits a weight.
    Iq4Nl,
    /// 5 bits and a scale; 5.5 bits a weight.
    Q5_0,
    /// 5 bits, a scale and an offset; 6 bits a weight.
    Q5_1,
    /// 8 bits and a scale; 8.5 bits a weight.
    Q8_0,
    /// 2 bits, two-level scales and offsets; 2.6 bits a weight.
    Q2K,
    /// 3 bits, two-level scales; 3.4 bits a weight.
    Q3K,
    /// 4 bits, two-level scales and offsets; 4.5 bits a weight.
    Q4K,
    /// 5 bits, two-level scales and offsets; 5.5 bits a weight.
    Q5K,
    /// 6 bits, two-level scales; 6.6 bits a weight.
    Q6K,
    /// 4 bits that choose one of 16 fixed levels, two-level scales; 4.25 bits a weight.
    Iq4Xs,
    /// Points of a grid for 4 weights, signs, two-level scales; 3.1 bits a weight, 4.25 on the device.
    Iq3Xxs,
    /// Points of a larger grid for 4 weights, signs, two-level scales; 3.4 bits a weight, 4.25 on the device.
    Iq3S,
    /// Points of a grid for 8 weights, signs, two-level scales; 2.1 bits a weight, 3.4 on the device.
    Iq2Xxs,
    /// Points of a larger grid for 8 weights, signs, two-level scales; 2.3 bits a weight, 3.4 on the device.
    Iq2Xs,
    /// Points of the largest grid for 8 weights, signs, two-level scales; 2.6 bits a weight, 3.4 on the device.
    Iq2S,
}

/// Words of the device layout, per [`weights`](DeviceWords::weights) weights.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct DeviceWords {
    /// The smallest run of weights that fills whole words: 32, 64 (two blocks share a word of
    /// scales) or 256.
    pub weights: usize,
    /// u32 words in `w_quants`.
    pub quants: usize,
    /// u32 words in `w_scales`; 0 for unquantized formats.
    pub scales: usize,
}

/// One tensor in the device layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The words of `w_quants: array<vec4<u32>>`; a multiple of 4.
    pub quants: Vec<u32>,
    /// The words of `w_scales: array<u32>`; empty for unquantized formats.
    pub scales: Vec<u32>,
}

impl Packed {
    /// Adds one half word of scales for block `index`. Two neighbouring blocks share the word, and the
    /// even one starts it; `stride` is the total number of words that an even block appends.
    fn push_half(&mut self, index: usize, half: [u8; 2], stride: usize) {
        let half = u32::from(u16::from_le_bytes(half));
        if index.is_multiple_of(2) {
            self.scales.push(half);
        } else {
            let shared = self.scales.len() - stride;
            self.scales[shared] |= half << 16;
        }
    }
}

/// Size of a tensor in the device layout, in u32 words.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PackedLen {
    /// Words of [`Packed::quants`].
    pub quants: usize,
    /// Words of [`Packed::scales`].
    pub scales: usize,
}

impl Quant {
    /// Every format: unquantized ones first, then by bits, then those with grids.
    pub const ALL: &'static [Quant] = &[
        Quant::F32,
        Quant::F16,
        Quant::Bf16,
        Quant::Q4_0,
        Quant::Q4_1,
        Quant::Iq4Nl,
        Quant::Q5_0,
        Quant::Q5_1,
        Quant::Q8_0,
        Quant::Q2K,
        Quant::Q3K,
        Quant::Q4K,
        Quant::Q5K,
        Quant::Q6K,
        Quant::Iq4Xs,
        Quant::Iq3Xxs,
        Quant::Iq3S,
        Quant::Iq2Xxs,
        Quant::Iq2Xs,
        Quant::Iq2S,
    ];

    fn format(self) -> &'static Format {
        // FORMATS is in the enum's order; a const assertion in `table` checks it.
        &FORMATS[self as usize]
    }

    /// The lower-case name that commands and messages use: `f16`, `q4_1`, `q4_k`.
    pub fn name(self) -> &'static str {
        self.format().name
    }

    /// The format called `name`, in any case (`Q4_K` is `q4_k`).
    pub fn from_name(name: &str) -> Option<Quant> {
        Self::ALL.iter().copied().find(|quant| quant.name().eq_ignore_ascii_case(name))
    }

    /// The format that a GGUF file calls `id` (ggml's `ggml_type`), if it is one of ours.
    pub fn from_ggml(id: u32) -> Option<Quant> {
        Self::ALL.iter().copied().find(|quant| quant.ggml_type() == id)
    }

    /// The number of this format in GGUF files (ggml's `ggml_type`).
    pub fn ggml_type(self) -> u32 {
        self.format().ggml_type
    }

    /// Weights in one block of the file layout: 1, 32 or 256.
    pub fn block_weights(self) -> usize {
        self.format().block_weights
    }

    /// Bytes of one block of the file layout.
    pub fn block_bytes(self) -> usize {
        self.format().block_bytes
    }

    /// Bytes of a row of `cols` weights in the file layout; `None` if `cols` is not a whole number
    /// of blocks, or the size overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_weights()) {
            return None;
        }
        (cols / self.block_weights()).checked_mul(self.block_bytes())
    }

    /// This format if its blocks divide a row of `cols` weights, else `q8_0`, else `f16`.
    pub fn fitting(self, cols: usize) -> Quant {
        [self, Quant::Q8_0, Quant::F16]
            .into_iter()
            .find(|quant| cols.is_multiple_of(quant.block_weights()))
            .expect("f16 divides every row")
    }

    /// The shader fragment that reads the device layout, for the linker's slot `weight`.
    pub fn fragment(self) -> &'static str {
        self.format().fragment
    }

    /// Weights that share one scale and offset on the device: 16 or 32.
    pub fn group(self) -> usize {
        self.format().group
    }

    /// Words of the device layout.
    pub fn device_words(self) -> DeviceWords {
        self.format().device
    }

    /// Size of a `(rows, cols)` tensor in the device layout; `None` if it overflows.
    pub fn packed_len(self, rows: usize, cols: usize) -> Option<PackedLen> {
        let weights = rows.checked_mul(cols.checked_next_multiple_of(DEVICE_BLOCK)?)?;
        let unit = self.device_words();
        let words = |per_unit: usize| Some(weights.checked_mul(per_unit)?.div_ceil(unit.weights));
        Some(PackedLen { quants: words(unit.quants)?, scales: words(unit.scales)? })
    }

    /// Decodes whole blocks of the file layout, with ggml's own order of operations.
    ///
    /// # Panics
    ///
    /// If `bytes` is not exactly the blocks of `out.len()` weights: the loader checks every
    /// tensor's size before its bytes come here.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        (self.format().decode)(bytes, out);
    }

    /// Quantizes `weights` and appends whole blocks of the file layout to `out`.
    ///
    /// The formats with one level of scales follow ggml's reference quantizer bit for bit; the
    /// k-quants fit each group's scale by least squares, without an importance matrix.
    ///
    /// # Panics
    ///
    /// If `weights.len()` is not a multiple of [`Quant::block_weights`].
    pub fn encode(self, weights: &[f32], out: &mut Vec<u8>) {
        (self.format().encode)(weights, out);
    }

    /// Reorders a `(rows, cols)` tensor from the file layout to the device layout.
    ///
    /// # Panics
    ///
    /// If `bytes` is not exactly `rows` rows of [`Quant::row_bytes`]`(cols)`: the loader checks
    /// every tensor's size before its bytes come here.
    pub fn pack(self, bytes: &[u8], rows: usize, cols: usize) -> Packed {
        let row_bytes = self.row_bytes(cols).expect("a loaded tensor has whole blocks");
        assert_eq!(bytes.len(), rows * row_bytes, "a loaded tensor has rows * row_bytes bytes");
        let len = self.packed_len(rows, cols).expect("a loaded tensor fits in memory");
        let mut packed =
            Packed { quants: Vec::with_capacity(len.quants), scales: Vec::with_capacity(len.scales) };
        (self.format().pack)(bytes, row_bytes, &mut packed);
        debug_assert_eq!(packed.quants.len(), len.quants, "{}", self.name());
        debug_assert_eq!(packed.scales.len(), len.scales, "{}", self.name());
        packed
    }
}

impl std::fmt::Display for Quant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
