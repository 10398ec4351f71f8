//! Log-probabilities and entropies from logits, and their gradients.

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds};
use super::rms_norm::{folded, row_reduction};
use crate::gpu::{Access, Buffer, KernelFamily, KernelSpec, Recording, Specialization};

/// Statistics of one row of logits for its target.
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
    first: u32,
    scale: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

/// `stats/token_stats`.
pub(super) const TOKEN_STATS: KernelSpec = KernelSpec {
    name: "stats/token_stats",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write],
    variants: reductions,
};

/// `stats/token_stats_backward`.
pub(super) const TOKEN_STATS_BACKWARD: KernelSpec = KernelSpec {
    name: "stats/token_stats_backward",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Write, Access::Read, Access::Read],
    variants: reductions,
};

fn reductions() -> Vec<Specialization> {
    [KernelFamily::Lane8, KernelFamily::Tiled].map(row_reduction).to_vec()
}

fn params(logits: &Activation, first: usize, rows: usize, temperature: f32) -> Params {
    Params {
        rows: rows as u32,
        width: logits.width as u32,
        x_stride: logits.stride_quads(),
        first: first as u32,
        scale: temperature.recip(),
        pad0: 0,
        pad1: 0,
        pad2: 0,
    }
}

/// Records `stats[first + i] = (log p(targets[first + i]), entropy)` under the softmax of row `i` of
/// `logits` divided by `temperature`, for `i` below `rows`. The logits of a long batch are computed a few
/// rows at a time.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `logits` | `(rows, vocabulary)` | read |
/// | `targets` | `(first + rows)`; an id beyond the vocabulary gives 0 | read |
/// | `stats` | `(first + rows)` | `first..` written |
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
    first: usize,
    rows: usize,
    temperature: f32,
) -> Result<(), ShapeError> {
    holds("token_stats", "rows of logits", logits.rows, rows)?;
    holds("token_stats", "number of targets", targets.len(), first + rows)?;
    holds("token_stats", "number of stats", stats.len(), first + rows)?;
    let device = rec.device().clone();
    let pipeline = device.pipeline(&TOKEN_STATS, &row_reduction(device.family(&[TOKEN_STATS.name])))?;
    let params = params(logits, first, rows, temperature);
    let bindings = [logits.buffer.binding(), targets.binding(), stats.binding()];
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows), 16 * (rows * logits.width) as u64)?;
    Ok(())
}

/// Records the gradient of [`token_stats`] in place of the first `rows` rows of `logits`: `d_stats` holds
/// the gradients with respect to log-probability and entropy of rows `first..` at the same `temperature`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `logits` | `(rows, vocabulary)` | replaced by their gradient |
/// | `targets` | `(first + rows)`; for an id beyond the vocabulary only the entropy counts | read |
/// | `d_stats` | `(first + rows)` | read |
///
/// Kernel: `shaders/stats/token_stats_backward.wgsl`. Oracle: `reference::token_stats_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if there are too few rows of anything.
pub fn token_stats_backward(
    rec: &mut Recording,
    logits: &Activation,
    targets: &Buffer<u32>,
    d_stats: &Buffer<TokenStat>,
    first: usize,
    rows: usize,
    temperature: f32,
) -> Result<(), ShapeError> {
    holds("token_stats_backward", "rows of logits", logits.rows, rows)?;
    holds("token_stats_backward", "number of targets", targets.len(), first + rows)?;
    holds("token_stats_backward", "number of gradients", d_stats.len(), first + rows)?;
    let device = rec.device().clone();
    let pipeline = device
        .pipeline(&TOKEN_STATS_BACKWARD, &row_reduction(device.family(&[TOKEN_STATS_BACKWARD.name])))?;
    let params = params(logits, first, rows, temperature);
    let bindings = [logits.buffer.binding(), targets.binding(), d_stats.binding()];
    rec.dispatch(&pipeline, &params, &bindings, folded(&device, rows), 32 * (rows * logits.width) as u64)?;
    Ok(())
}
