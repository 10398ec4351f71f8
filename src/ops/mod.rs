//! Host side of every kernel: checks shapes, chooses the variant and records the dispatch.
//!
//! One file per op. Nothing runs until the [`Recording`](crate::gpu::Recording) is submitted. A
//! forward op overwrites its output unless its documentation states that it adds. In backward ops,
//! gradients of parameters accumulate. Gradients of activations overwrite, except in the residual
//! stream, where they add.

mod activation;
mod adamw;
mod advance;
mod attention;
mod attention_backward;
mod cap_logits;
mod embed;
mod error;
mod glu;
mod glu_backward;
mod grad_norm;
mod linear;
mod linear_backward;
mod lora;
mod multiply_add;
mod rms_norm;
mod rms_norm_backward;
mod rope;
mod rope_backward;
mod rounds;
mod rows;
mod sample;
mod scalar_head;
mod short_conv;
mod short_conv_backward;
mod token_stats;
mod weight;

pub use activation::Activation;
pub(crate) use activation::buffer_bytes;
pub use adamw::{AdamWStep, adamw};
pub use advance::{Drawn, advance};
pub use attention::{AttentionShape, KvFormat, QueryTile, SharedPrefix, attention};
pub use attention_backward::{AttentionSaved, KeyTile, attention_backward};
pub use cap_logits::{LogitCap, cap_logits, cap_logits_backward};
pub use embed::embed;
pub use error::ShapeError;
pub use glu::{Gate, glu};
pub use glu_backward::glu_backward;
pub use grad_norm::{GRAD_NORM_PARTS, grad_norm};
pub use linear::{Store, linear};
pub(crate) use linear::{linear_by, linear_tiles};
pub use linear_backward::linear_backward;
pub use lora::{
    LoraParams, LoraPart, LoraRows, LoraRun, LoraSite, LoraTile, lora, lora_expand, lora_expand_backward,
    lora_grad_a, lora_grad_b, lora_shrink, lora_shrink_backward,
};
pub use multiply_add::{MULTIPLY_ADD_STEPS, multiply_add};
pub use rms_norm::{head_norm, rms_norm};
pub use rms_norm_backward::{head_norm_backward, rms_norm_backward};
pub use rope::{RopeTable, rope};
pub use rope_backward::rope_backward;
pub use rows::{gather_rows, scatter_rows};
pub use sample::{SampleRow, sample};
pub use scalar_head::{NO_HEAD, scalar_head, scalar_head_backward, scalar_head_len};
pub use short_conv::{ShortConvShape, short_conv, short_conv_input};
pub use short_conv_backward::short_conv_backward;
pub use token_stats::{TokenStat, token_stats, token_stats_backward};
pub use weight::{LinearPart, Weight};

use crate::gpu::KernelSpec;

/// Every kernel that the library can run; tests and `parr doctor` check all.
pub const KERNELS: &[&KernelSpec] = &[
    &embed::EMBED,
    &cap_logits::CAP_LOGITS,
    &cap_logits::CAP_LOGITS_BACKWARD,
    &rms_norm::RMS_NORM,
    &rms_norm::HEAD_NORM,
    &rms_norm_backward::RMS_NORM_BACKWARD,
    &rms_norm_backward::HEAD_NORM_BACKWARD,
    &linear::MATMUL_LANE8,
    &linear::MATMUL_TILED,
    &linear::MATVEC_TILED,
    &linear_backward::MATMUL_TRANSPOSED_LANE8,
    &linear_backward::MATMUL_TRANSPOSED_TILED,
    &lora::APPLY_LANE8,
    &lora::SHRINK_LANE8,
    &lora::SHRINK_TILED,
    &lora::EXPAND_LANE8,
    &lora::EXPAND_TILED,
    &lora::GRAD_WEIGHT_LANE8,
    &lora::GRAD_WEIGHT_TILED,
    &rope::ROPE,
    &rope_backward::ROPE_BACKWARD,
    &attention::ATTENTION_LANE8,
    &attention::ATTENTION_TILED,
    &attention_backward::BACKWARD_DELTA,
    &attention_backward::BACKWARD_Q_LANE8,
    &attention_backward::BACKWARD_Q_TILED,
    &attention_backward::BACKWARD_KV_LANE8,
    &attention_backward::BACKWARD_KV_TILED,
    &short_conv::SHORT_CONV_INPUT,
    &short_conv::SHORT_CONV,
    &short_conv_backward::SHORT_CONV_BACKWARD_GATE,
    &short_conv_backward::SHORT_CONV_BACKWARD_INPUT,
    &glu::GLU,
    &glu_backward::GLU_BACKWARD,
    &rows::GATHER,
    &rows::SCATTER,
    &token_stats::TOKEN_STATS,
    &token_stats::TOKEN_STATS_BACKWARD,
    &scalar_head::SCALAR_HEAD,
    &scalar_head::SCALAR_HEAD_BACKWARD,
    &grad_norm::GRAD_NORM,
    &adamw::ADAMW,
    &sample::SAMPLE,
    &advance::ADVANCE,
    &multiply_add::MULTIPLY_ADD,
];
