//! The half of a layer that mixes positions: attention, or a gated short convolution.

use super::forward::{Block, Rows, record_linear, record_norm_before, record_result};
use super::kv_cache::Past;
use super::lora::Site;
use super::weights::Mixer;
use super::{Model, ModelConfig};
use crate::gpu::{Buffer, Recording};
use crate::ops::{self, Activation, ShapeError, ShortConvShape, Store};

/// Intermediate activations of attention.
#[derive(Clone, Debug)]
pub(crate) struct AttentionBlock {
    /// `(rows, (heads + 2 kv_heads) head_dim)`.
    pub qkv: Activation,
    /// Rotated queries in the layout that attention reads.
    pub q: Activation,
    /// `(rows, heads * head_dim)`.
    pub attended: Activation,
    /// Log-sum-exp of the scores, `(rows, heads)`; only for training.
    pub lse: Option<Buffer<f32>>,
}

/// Intermediate activations of a short convolution.
#[derive(Clone, Debug)]
pub(crate) struct ConvBlock {
    /// B, C and x: `(rows, 3 hidden)`.
    pub bcx: Activation,
    /// `(rows, hidden)`.
    pub convolved: Activation,
}

/// Records the first half of a layer, attention or convolution, in place on the residual stream `x`. If the model has
/// norms of heads and `unnormed` is given, queries and keys before these norms are written to it.
#[expect(clippy::too_many_arguments, reason = "the activations of a layer and their positions")]
pub(crate) fn record_mixer(
    rec: &mut Recording,
    model: &Model,
    index: usize,
    rows: &Rows<'_>,
    block: &Block,
    past: Past<'_>,
    unnormed: Option<&Activation>,
    x: &Activation,
) -> Result<(), ShapeError> {
    let config = model.config();
    let weights = model.weights();
    let layer = &weights.layers[index];
    let n = rows.batch.rows;
    let input = record_norm_before(rec, model, layer.attention_norm.as_ref(), block, x, n)?;
    match (&layer.mixer, past) {
        (Mixer::Attention { qkv, head_norms, o }, Past::Attention { k, v }) => {
            let AttentionBlock { qkv: projected, q, attended, lse } = block.attention();
            record_linear(rec, (qkv, Site::Qkv, index), rows, block, (input, projected), Store::Overwrite)?;
            if let Some(norms) = head_norms {
                if let Some(unnormed) = unnormed {
                    rec.copy(&projected.buffer, 0, &unnormed.buffer, 0, n * projected.stride);
                }
                for (norm, offset, heads) in self::head_norms(config, norms) {
                    ops::head_norm(rec, projected, norm, config.norm_eps, offset, heads, n)?;
                }
            }
            let shape = config.layers[index].attention(rows.shape);
            let table = rows.rotations.of_layer(index);
            ops::rope(rec, &shape, projected, rows.rows_at, table, q, k, v, n)?;
            ops::attention(
                rec,
                &shape,
                rows.tiles,
                rows.batch.tiles,
                rows.batch.tile_rows,
                rows.rows_at,
                q,
                k,
                v,
                attended,
                lse.as_ref(),
                rows.batch.reach,
            )?;
            record_result(rec, model, (o, Site::O, index), rows, block, (attended, x))
        }
        (Mixer::Conv { input: projection, taps, output }, Past::Conv { u }) => {
            let ConvBlock { bcx, convolved } = block.conv();
            let linear = (projection, Site::ConvIn, index);
            record_linear(rec, linear, rows, block, (input, bcx), Store::Overwrite)?;
            record_conv(rec, &conv_shape(config, index, rows), rows, block.conv(), taps, u)?;
            record_result(rec, model, (output, Site::ConvOut, index), rows, block, (convolved, x))
        }
        _ => unreachable!("a layer and its cache are of one kind: both follow the layer's description"),
    }
}

/// Records the convolution between the two projections: B, C and x to its result.
pub(super) fn record_conv(
    rec: &mut Recording,
    shape: &ShortConvShape,
    rows: &Rows<'_>,
    ConvBlock { bcx, convolved }: &ConvBlock,
    taps: &Buffer<f32>,
    u: &Buffer<u32>,
) -> Result<(), ShapeError> {
    let batch = &rows.batch;
    ops::short_conv_input(rec, shape, bcx, rows.rows_at, u, batch.rows)?;
    ops::short_conv(
        rec,
        shape,
        rows.tiles,
        batch.tiles,
        batch.tile_rows,
        rows.rows_at,
        bcx,
        u,
        taps,
        convolved,
    )
}

/// The shape of the convolution of layer `index`.
pub(super) fn conv_shape(config: &ModelConfig, index: usize, rows: &Rows<'_>) -> ShortConvShape {
    config.layers[index].short_conv(config, rows.shape).expect("the layer has a convolution")
}

impl Block {
    /// The activations of attention.
    pub fn attention(&self) -> &AttentionBlock {
        self.attention.as_ref().expect("a layer has attention")
    }

    /// The activations of a convolution.
    pub fn conv(&self) -> &ConvBlock {
        self.conv.as_ref().expect("a layer has a convolution")
    }
}

/// The norms of queries and of keys: weights, first column, and number of heads that are normalised one by one.
pub(super) fn head_norms<'a>(
    config: &ModelConfig,
    [q_norm, k_norm]: &'a [Buffer<f32>; 2],
) -> [(&'a Buffer<f32>, usize, usize); 2] {
    let (q_width, k_width) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    [(q_norm, 0, q_width / q_norm.len()), (k_norm, q_width, k_width / k_norm.len())]
}
