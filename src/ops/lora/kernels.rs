//! The kernels of the adapters, their variants, and the choice between them.

use bytemuck::{Pod, Zeroable};

use super::site::{Factor, LoraRows};
use crate::gpu::{Access, Device, KernelFamily, KernelSpec, Specialization};
use crate::ops::activation::Activation;

/// Parameters of all LoRA kernels; see `shaders/lora/site.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub(super) struct Params {
    rank: u32,
    factor_stride: u32,
    adapter_stride: u32,
    h_stride: u32,
    wide_stride: u32,
    scaled: u32,
    first_row: u32,
    end_row: u32,
    scale: f32,
    end0: u32,
    end1: u32,
    col0: u32,
    col1: u32,
    col2: u32,
    cols0: u32,
    cols1: u32,
    cols2: u32,
    factor0: u32,
    factor1: u32,
    factor2: u32,
    inner: u32,
    inner_stride: u32,
    inputs: u32,
    x_stride: u32,
    span: u32,
    pad: [u32; 3],
}

impl Params {
    /// `at` is the start of an adapter's parameters in their buffer; `groups` is the number of the grid's
    /// groups for each part of `factor`.
    pub fn new(factor: &Factor, at: usize, groups: &[u32], wide: &Activation) -> Self {
        let col = |part: usize| factor.parts.get(part).map_or(0, |part| part.first_col as u32);
        let cols = |part: usize| factor.parts.get(part).map_or(0, |part| part.cols as u32);
        let begin = |part: usize| factor.parts.get(part).map_or(0, |part| ((at + part.at) / 4) as u32);
        let end = |part: usize| groups.iter().take(part + 1).sum();
        Params {
            rank: factor.rank as u32,
            factor_stride: (factor.stride / 4) as u32,
            wide_stride: wide.stride as u32,
            end0: end(0),
            end1: end(1),
            col0: col(0),
            col1: col(1),
            col2: col(2),
            cols0: cols(0),
            cols1: cols(1),
            cols2: cols(2),
            factor0: begin(0),
            factor1: begin(1),
            factor2: begin(2),
            ..Params::default()
        }
    }

    /// For the kernels that read adapter and scale from their tile.
    pub fn for_tiles(self, adapter_len: usize, scaled: bool, h: &Activation) -> Self {
        let adapter_stride = (adapter_len / 4) as u32;
        Params { adapter_stride, scaled: u32::from(scaled), h_stride: h.stride_quads(), ..self }
    }

    /// For the kernels that sum over rows.
    pub fn for_rows(self, rows: std::ops::Range<usize>, scale: f32, h: &Activation) -> Self {
        let (first_row, end_row) = (rows.start as u32, rows.end as u32);
        Params { first_row, end_row, scale, h_stride: h.stride_quads(), ..self }
    }

    /// For the kernel that applies both factors to `x`, with `span` columns of a part per group.
    pub fn for_both(self, adapter_len: usize, a: &Factor, x: &Activation, span: usize) -> Self {
        Params {
            adapter_stride: (adapter_len / 4) as u32,
            inner: (a.place.start / 4) as u32,
            inner_stride: (a.stride / 4) as u32,
            inputs: a.width as u32,
            x_stride: x.stride_quads(),
            span: span as u32,
            ..self
        }
    }
}

const BY_TILE: &[Access] = &[Access::Read, Access::Read, Access::Read, Access::Write];
const BY_ROW: &[Access] = &[Access::Read, Access::Read, Access::Write];

/// `lora/shrink_lane8`.
pub(in crate::ops) const SHRINK_LANE8: KernelSpec = KernelSpec {
    name: "lora/shrink_lane8",
    params_bytes: size_of::<Params>(),
    bindings: BY_TILE,
    variants: || each_lane8(&[1, 4, MOST_LANE8], shrink_lane8),
};

/// `lora/shrink_tiled`.
pub(in crate::ops) const SHRINK_TILED: KernelSpec = KernelSpec {
    name: "lora/shrink_tiled",
    params_bytes: size_of::<Params>(),
    bindings: BY_TILE,
    variants: || [1, MOST_TILED].map(by_tile_tiled).to_vec(),
};

/// `lora/expand_lane8`.
pub(in crate::ops) const EXPAND_LANE8: KernelSpec = KernelSpec {
    name: "lora/expand_lane8",
    params_bytes: size_of::<Params>(),
    bindings: BY_TILE,
    variants: || each_lane8(&[1, 4, MOST_LANE8], expand_lane8),
};

/// `lora/expand_tiled`.
pub(in crate::ops) const EXPAND_TILED: KernelSpec = KernelSpec {
    name: "lora/expand_tiled",
    params_bytes: size_of::<Params>(),
    bindings: BY_TILE,
    variants: || [1, MOST_TILED].map(by_tile_tiled).to_vec(),
};

/// `lora/apply_lane8`.
pub(in crate::ops) const APPLY_LANE8: KernelSpec = KernelSpec {
    name: "lora/apply_lane8",
    params_bytes: size_of::<Params>(),
    bindings: BY_TILE,
    variants: || {
        let of = |mt| [4, 8, 12, 16].into_iter().flat_map(move |rank| [(mt, rank, true), (mt, rank, false)]);
        let all = [1, 4, 8, MOST_LANE8].into_iter().flat_map(of);
        all.map(|(mt, rank, aligned)| apply_lane8(mt, rank, aligned)).collect()
    },
};

/// `lora/grad_weight_lane8`.
pub(in crate::ops) const GRAD_WEIGHT_LANE8: KernelSpec = KernelSpec {
    name: "lora/grad_weight_lane8",
    params_bytes: size_of::<Params>(),
    bindings: BY_ROW,
    variants: || [true, false].map(grad_weight_lane8).to_vec(),
};

/// `lora/grad_weight_tiled`.
pub(in crate::ops) const GRAD_WEIGHT_TILED: KernelSpec = KernelSpec {
    name: "lora/grad_weight_tiled",
    params_bytes: size_of::<Params>(),
    bindings: BY_ROW,
    variants: || vec![Specialization::new(&[], &[])],
};

const MOST_LANE8: u32 = 16;
const MOST_TILED: u32 = 8;

/// Highest rank of `lora/apply_lane8`.
const MOST_APPLIED: usize = 16;

/// The family of all kernels of adapters: the tiles of a batch suit one family.
pub(super) fn family(device: &Device) -> KernelFamily {
    device.family(&["lora/apply", "lora/shrink", "lora/expand", "lora/grad_weight"])
}

/// Maximum number of rows of a tile.
pub(super) fn most_rows(family: KernelFamily) -> usize {
    match family {
        KernelFamily::Lane8 => MOST_LANE8 as usize,
        KernelFamily::Tiled => MOST_TILED as usize,
    }
}

/// Rows of the factor per lane of `lora/shrink_lane8`; one in decode, which has few workgroups.
fn shrink_width(mt: u32) -> u32 {
    if mt == 1 { 1 } else { 2 }
}

/// Rows of the factor, in quads, and columns per lane of `lora/grad_weight_lane8`: the largest number of
/// sums that compiles in reasonable time.
const GRAD_TILE: (u32, u32) = (4, 2);

fn each_lane8(rows: &[u32], make: fn(u32, bool) -> Specialization) -> Vec<Specialization> {
    rows.iter().flat_map(|&mt| [true, false].map(|aligned| make(mt, aligned))).collect()
}

fn read_fragment(aligned: bool) -> &'static str {
    if aligned { "lora/read_vec4" } else { "lora/read_f32" }
}

fn shrink_lane8(mt: u32, aligned: bool) -> Specialization {
    Specialization::new(&[("read", read_fragment(aligned))], &[("MT", mt), ("TN", shrink_width(mt))])
}

fn add_fragment(aligned: bool) -> &'static str {
    if aligned { "lora/add_vec4" } else { "lora/add_f32" }
}

fn expand_lane8(mt: u32, aligned: bool) -> Specialization {
    Specialization::new(&[("add", add_fragment(aligned))], &[("MT", mt)])
}

fn apply_lane8(mt: u32, rank: u32, aligned: bool) -> Specialization {
    Specialization::new(&[("add", add_fragment(aligned))], &[("MT", mt), ("QUADS", rank / 4)])
}

fn grad_weight_lane8(aligned: bool) -> Specialization {
    let (th, tn) = GRAD_TILE;
    Specialization::new(&[("read", read_fragment(aligned))], &[("TH", th), ("TN", tn)])
}

fn by_tile_tiled(mt: u32) -> Specialization {
    Specialization::new(&[], &[("MT", mt)])
}

/// The kernel, its variant, and the number of outputs of h or columns of x or y that a workgroup covers.
pub(super) struct Choice {
    pub spec: &'static KernelSpec,
    pub variant: Specialization,
    /// Rows of the factor.
    pub outputs: usize,
    /// Columns of the factor.
    pub cols: usize,
}

/// Rows of x per workgroup of the lane8 kernels: one in decode, few for a small batch.
fn lane8_rows(tile_rows: usize) -> u32 {
    match tile_rows {
        0..=1 => 1,
        2..=4 => 4,
        _ => MOST_LANE8,
    }
}

fn tiled_rows(tile_rows: usize) -> u32 {
    if tile_rows <= 1 { 1 } else { MOST_TILED }
}

pub(super) fn shrink(family: KernelFamily, factor: &Factor, tile_rows: usize) -> Choice {
    match family {
        KernelFamily::Lane8 => {
            let mt = lane8_rows(tile_rows);
            let variant = shrink_lane8(mt, factor.aligned);
            Choice { spec: &SHRINK_LANE8, variant, outputs: 8 * shrink_width(mt) as usize, cols: 1 }
        }
        KernelFamily::Tiled => {
            let variant = by_tile_tiled(tiled_rows(tile_rows));
            Choice { spec: &SHRINK_TILED, variant, outputs: 16, cols: 1 }
        }
    }
}

pub(super) fn expand(family: KernelFamily, factor: &Factor, tile_rows: usize) -> Choice {
    match family {
        KernelFamily::Lane8 => {
            let variant = expand_lane8(lane8_rows(tile_rows), factor.aligned);
            Choice { spec: &EXPAND_LANE8, variant, outputs: 1, cols: 32 }
        }
        KernelFamily::Tiled => {
            let variant = by_tile_tiled(tiled_rows(tile_rows));
            Choice { spec: &EXPAND_TILED, variant, outputs: 1, cols: 64 }
        }
    }
}

/// The kernel for both products of the forward pass at once, and the columns of a part per workgroup. `None`
/// if the inner products do not fit in registers.
pub(super) fn apply(family: KernelFamily, b: &Factor, rows: LoraRows<'_>) -> Option<Choice> {
    if family != KernelFamily::Lane8 || b.rank > MOST_APPLIED {
        return None;
    }
    let mt = match rows.tile_rows {
        5..=8 => 8,
        few_or_many => lane8_rows(few_or_many),
    };
    // A part alone in the grid is split between two workgroups; otherwise one core would be idle.
    let shares = if rows.n_tiles * b.parts.len() == 1 { 2 } else { 1 };
    let cols = b.parts.iter().map(|part| part.cols.div_ceil(32 * shares) * 32).max()?;
    Some(Choice {
        spec: &APPLY_LANE8,
        variant: apply_lane8(mt, b.rank as u32, b.aligned),
        outputs: b.rank,
        cols,
    })
}

pub(super) fn grad_weight(family: KernelFamily, factor: &Factor) -> Choice {
    match family {
        KernelFamily::Lane8 => {
            let (th, tn) = GRAD_TILE;
            let variant = grad_weight_lane8(factor.aligned);
            let (outputs, cols) = (4 * th as usize, 32 * tn as usize);
            Choice { spec: &GRAD_WEIGHT_LANE8, variant, outputs, cols }
        }
        KernelFamily::Tiled => {
            let variant = Specialization::new(&[], &[]);
            Choice { spec: &GRAD_WEIGHT_TILED, variant, outputs: 16, cols: 32 }
        }
    }
}
