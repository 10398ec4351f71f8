//! The next token of each sequence, drawn on the device.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

/// How to draw one row, and the state of its draws, which the device advances.
///
/// The algorithm, filter by filter, is in [`crate::reference::sample`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct SampleRow {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Probability mass to keep, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Minimum probability relative to that of the most probable token, in `[0, 1]`; 0 keeps all.
    pub min_p: f32,
    /// Penalty on recent tokens, above 0; 1 is none.
    pub repetition_penalty: f32,
    /// Number of tokens to keep; 0 keeps all.
    pub top_k: u32,
    /// Position of the token being drawn; each draw adds 1.
    pub position: u32,
    /// Low word of the sequence's seed.
    pub seed_low: u32,
    /// High word of the sequence's seed.
    pub seed_high: u32,
    /// Total number of tokens written to the row's ring of recent tokens; each draw adds 1.
    pub recent_count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    vocab: u32,
    stride: u32,
    window: u32,
}

/// `sample/sample`.
pub(super) const SAMPLE: KernelSpec = KernelSpec {
    name: "sample/sample",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Write, Access::Write, Access::Write, Access::Write, Access::Write],
    variants: || vec![Specialization::new(&[], &[])],
};

/// Records one draw for each of the first `rows` rows of `logits`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `logits` | `(rows, vocabulary)` | recent tokens' replaced by penalised values |
/// | `settings` | `(rows)` | read; position and count advanced |
/// | `recent` | `(rows, window)`, rings: the token of count `n` is entry `n % window` | read; the drawn token added |
/// | `tokens` | `(rows)` | written |
/// | `logprobs` | `(rows)`: log-probability under the plain softmax, and under the filtered one | written |
///
/// A row's draw depends only on its logits, its settings and its ring, not on other rows.
/// Because state advances on the device, several steps can be recorded without a read-back. A
/// `window` of 0 turns the penalty off.
///
/// Kernel: `shaders/sample/sample.wgsl`. Oracle: `reference::sample`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if there are too few rows of anything.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn sample(
    rec: &mut Recording,
    logits: &Activation,
    settings: &Buffer<SampleRow>,
    recent: &Buffer<u32>,
    window: usize,
    tokens: &Buffer<u32>,
    logprobs: &Buffer<[f32; 2]>,
    rows: usize,
) -> Result<(), ShapeError> {
    holds("sample", "rows of logits", logits.rows, rows)?;
    holds("sample", "number of settings", settings.len(), rows)?;
    holds("sample", "length of recent tokens", recent.len(), rows * window)?;
    holds("sample", "number of tokens", tokens.len(), rows)?;
    holds("sample", "number of log-probabilities", logprobs.len(), rows)?;
    let variant = Specialization::new(&[], &[]);
    let pipeline = rec.device().pipeline(&SAMPLE, &variant)?;
    let params = Params {
        rows: rows as u32,
        vocab: logits.width as u32,
        stride: logits.stride_quads(),
        window: window as u32,
    };
    let bindings =
        [logits.buffer.binding(), settings.binding(), recent.binding(), tokens.binding(), logprobs.binding()];
    rec.dispatch(&pipeline, &params, &bindings, [rows as u32, 1, 1], 64 * (rows * logits.width) as u64)?;
    Ok(())
}
