//! The gated linear unit of the feed-forward half (arXiv 2002.05202).

use bytemuck::{Pod, Zeroable};

use super::activation::Activation;
use super::error::{ShapeError, holds, same};
use crate::gpu::{Access, KernelSpec, Recording, Specialization};

/// The activation of the gate in a gated linear unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `silu(g) = g / (1 + exp(-g))`: SwiGLU.
    #[default]
    Silu,
    /// GELU in the approximation by tanh (arXiv 1606.08415): GeGLU.
    Gelu,
}

impl Gate {
    /// All activations.
    pub const ALL: [Gate; 2] = [Gate::Silu, Gate::Gelu];

    /// `silu` or `gelu`.
    pub fn name(self) -> &'static str {
        match self {
            Gate::Silu => "silu",
            Gate::Gelu => "gelu",
        }
    }

    pub(super) fn fragment(self) -> &'static str {
        match self {
            Gate::Silu => "mlp/silu",
            Gate::Gelu => "mlp/gelu",
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    y_stride: u32,
}

/// `mlp/glu`.
pub(super) const GLU: KernelSpec = KernelSpec {
    name: "mlp/glu",
    params_bytes: size_of::<Params>(),
    bindings: &[Access::Read, Access::Write],
    variants,
};

pub(super) const LANES: u32 = 64;

/// The variants of both directions.
pub(super) fn variants() -> Vec<Specialization> {
    Gate::ALL.iter().flat_map(|&gate| [false, true].map(|split| variant(gate, split))).collect()
}

pub(super) fn variant(gate: Gate, split: bool) -> Specialization {
    Specialization::new(&[("gate", gate.fragment())], &[("WG", LANES), ("SPLIT", u32::from(split))])
}

/// Records `y = act(gate) * up` for the first `rows` rows, where `gate_up` is `[gate | up]`.
///
/// | argument | shape | access |
/// |---|---|---|
/// | `gate_up` | `(rows, 2 width)` | read |
/// | `y` | `(rows, width)` | written |
///
/// Kernel: `shaders/mlp/glu.wgsl`. Oracle: `reference::glu`.
///
/// # Errors
///
/// [`ShapeError::Mismatch`] if widths or rows disagree.
pub fn glu(
    rec: &mut Recording,
    gate: Gate,
    gate_up: &Activation,
    y: &Activation,
    rows: usize,
) -> Result<(), ShapeError> {
    same("glu", "width of gate and up", gate_up.width, 2 * y.width)?;
    holds("glu", "rows of gate and up", gate_up.rows, rows)?;
    holds("glu", "rows of y", y.rows, rows)?;
    let split = !y.width.is_multiple_of(4);
    let pipeline = rec.device().pipeline(&GLU, &variant(gate, split))?;
    let params = Params {
        rows: rows as u32,
        width: y.width as u32,
        x_stride: gate_up.stride_quads(),
        y_stride: y.stride_quads(),
    };
    let grid = [y.width.div_ceil(4 * LANES as usize) as u32, rows as u32, 1];
    rec.dispatch(
        &pipeline,
        &params,
        &[gate_up.buffer.binding(), y.buffer.binding()],
        grid,
        8 * (rows * y.width) as u64,
    )?;
    Ok(())
}
