//! Log-probabilities and entropies from logits.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds};
use super::rms_norm::{folded, row_reduction};
use crate::gpu::{Access, Buffer, KernelFamily, KernelSpec, Recording};

/// What one row of logits says of its target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct TokenStat {
    /// Natural logarithm of the target's probability.
    pub logprob: f32,
    /// Entropy of the distribution, in nats.
    pub entropy: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    pad: u32,
}

/// `stats/token_stats`.
pub(super) const TOKEN_STATS: KernelSpec = KernelSpec {
    name: "stats/token_stats",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: || [KernelFamily::Lane8, KernelFamily::Tiled].map(row_reduction).to_vec(),
};

/// Records `stats[row] = (log p(targets[row]), entropy)` under the softmax of each row of `logits`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `logits` | `(rows, vocabulary)` | read |
/// | `targets` | `(rows)`; an id beyond the vocabulary gives 0 | read |
/// | `stats` | `(rows)` | written |
///
/// Kernel: `shaders/stats/token_stats.wgsl`. Oracle: `reference::token_stats`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if there are too few rows of anything.
pub fn token_stats(
    rec: &mut Recording,
    logits: &Activation,
    targets: &Buffer<u32>,
    stats: &Buffer<TokenStat>,
    rows: usize,
) -> Result<(), ShapeError> {
    holds("token_stats", "rows of logits", logits.rows, rows)?;
    holds("token_stats", "number of targets", targets.len(), rows)?;
    holds("token_stats", "number of stats", stats.len(), rows)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&TOKEN_STATS, &row_reduction(device.tuning().family))?;
    let params =
        Params { rows: rows as u32, width: logits.width as u32, x_stride: logits.stride as u32, pad: 0 };
    let bindings = [logits.buffer.binding(), targets.binding(), stats.binding()];
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows), 16 * (rows * logits.width) as u64)?;
    Ok(())
}
