//! Advancing from one decode step to the next without the host.

use bytemuck::{Pod, Zeroable};

use super::error::{ShapeError, holds};
use crate::gpu::{Access, Buffer, KernelSpec, Recording, Specialization};

/// A token that was drawn, as the host reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Drawn {
    /// The token's id.
    pub token: u32,
    /// Its log-probability under the plain softmax.
    pub logprob: f32,
    /// Its log-probability under the distribution it was drawn from.
    pub sampling_logprob: f32,
    /// Unused.
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    step: u32,
    pad: [u32; 2],
}

/// `sample/advance`.
pub(super) const ADVANCE: KernelSpec = KernelSpec {
    name: "sample/advance",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    variants: || vec![lanes()],
};

const LANES: u32 = 64;

fn lanes() -> Specialization {
    Specialization::new(&[], &[("WG", LANES)])
}

/// Records the copy of `rows` drawn tokens to the inputs of the next step, and to row `step` of `drawn`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `tokens`, `logprobs` | `(rows)` | read |
/// | `ids` | `(rows)` | written |
/// | `rows_at` | `(rows)`: base and position | positions advanced |
/// | `drawn` | `(steps, rows)` | row `step` written |
///
/// Kernel: `shaders/sample/advance.wgsl`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if there are too few rows of anything.
#[expect(clippy::too_many_arguments, reason = "one argument per binding, in the kernel's order")]
pub fn advance(
    rec: &mut Recording,
    tokens: &Buffer<u32>,
    logprobs: &Buffer<[f32; 2]>,
    ids: &Buffer<u32>,
    rows_at: &Buffer<[u32; 2]>,
    drawn: &Buffer<Drawn>,
    step: usize,
    rows: usize,
) -> Result<(), ShapeError> {
    holds("advance", "number of tokens", tokens.len(), rows)?;
    holds("advance", "number of log-probabilities", logprobs.len(), rows)?;
    holds("advance", "number of ids", ids.len(), rows)?;
    holds("advance", "rows of bases and positions", rows_at.len(), rows)?;
    holds("advance", "number of drawn tokens", drawn.len(), (step + 1) * rows)?;
    let pipeline = rec.device().pipeline(&ADVANCE, &lanes())?;
    let params = Params { rows: rows as u32, step: step as u32, pad: [0; 2] };
    let bindings = [tokens.binding(), logprobs.binding(), ids.binding(), rows_at.binding(), drawn.binding()];
    rec.dispatch(&pipeline, &params, &bindings, [rows.div_ceil(LANES as usize) as u32, 1, 1], rows as u64)?;
    Ok(())
}
