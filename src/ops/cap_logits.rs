//! The scale and the soft cap of logits (Gemma 2's `final_logit_softcapping`, Granite's `logits_scaling`).

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, KernelSpec, Recording, Specialization};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    width: u32,
    stride: u32,
    scale: f32,
    cap: f32,
    pad: [u32; 3],
}

/// `head/cap_logits`.
pub(super) const CAP_LOGITS: KernelSpec = KernelSpec {
    name: "head/cap_logits",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Write],
    variants: || [false, true].map(variant).to_vec(),
};

/// `head/cap_logits_backward`.
pub(super) const CAP_LOGITS_BACKWARD: KernelSpec = KernelSpec {
    name: "head/cap_logits_backward",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Write],
    variants: || [false, true].map(variant).to_vec(),
};

const LANES: u32 = 64;

fn variant(cap: bool) -> Specialization {
    Specialization::new(&[], &[("WG", LANES), ("CAP", u32::from(cap))])
}

/// What happens to logits after the output matrix: they are multiplied by a factor, and then bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitCap {
    /// Factor.
    pub scale: f32,
    /// Bound: `cap tanh(logit / cap)`. `None` for none.
    pub cap: Option<f32>,
}

impl LogitCap {
    /// No factor and no bound.
    pub const NONE: LogitCap = LogitCap { scale: 1.0, cap: None };

    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        *self == LogitCap::NONE
    }

    fn params(&self, y: &Activation, rows: usize) -> (Params, [u32; 3]) {
        let params = Params {
            rows: rows as u32,
            width: y.width as u32,
            stride: y.stride_quads(),
            scale: self.scale,
            cap: self.cap.unwrap_or(0.0),
            pad: [0; 3],
        };
        (params, [y.width.div_ceil(4 * LANES as usize) as u32, rows as u32, 1])
    }
}

/// Records `y = cap tanh(scale y / cap)`, or `scale y` without a cap, in place for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `y` | `(rows, vocabulary)` | replaced |
///
/// Kernel: `shaders/head/cap_logits.wgsl`. Oracle: `reference::cap_logits`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if there are too few rows.
pub fn cap_logits(
    rec: &mut Recording,
    cap: &LogitCap,
    y: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    holds("cap_logits", "rows of y", y.rows, rows)?;
    let pipeline = rec.device().pipeline(&CAP_LOGITS, &variant(cap.cap.is_some()))?;
    let (params, grid) = cap.params(y, rows);
    rec.dispatch(&pipeline, &params, &[y.buffer.binding()], grid, 8 * (rows * y.width) as u64)?;
    Ok(())
}

/// Records the gradient of [`cap_logits`], in place for the first `rows` rows.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `y` | `(rows, vocabulary)`, the result of the forward op | read |
/// | `d` | `(rows, vocabulary)`, the gradient of its result | replaced by that of its input |
///
/// Kernel: `shaders/head/cap_logits_backward.wgsl`. Oracle: `reference::cap_logits_backward`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn cap_logits_backward(
    rec: &mut Recording,
    cap: &LogitCap,
    y: &Activation,
    d: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    same("cap_logits_backward", "width of d", d.width, y.width)?;
    holds("cap_logits_backward", "rows of y", y.rows, rows)?;
    holds("cap_logits_backward", "rows of d", d.rows, rows)?;
    let pipeline = rec.device().pipeline(&CAP_LOGITS_BACKWARD, &variant(cap.cap.is_some()))?;
    let (params, grid) = cap.params(y, rows);
    let bindings = [y.buffer.binding(), d.buffer.binding()];
    rec.dispatch(&pipeline, &params, &bindings, grid, 4 * (rows * y.width) as u64)?;
    Ok(())
}
