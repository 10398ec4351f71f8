//! CPU oracles for every GPU result: plain f32 loops with the kernels' names.
//!
//! Inputs and outputs are row-major f32 slices. Sums are in f64, so that an oracle's rounding is
//! far below a kernel's. No code here uses a device: an oracle that shared code with the kernels
//! would repeat their mistakes. Slices of the wrong length are a bug of the caller and panic.

pub mod adamw;
pub mod attention;
pub mod attention_backward;
pub mod cap_logits;
#[cfg(test)]
mod differences;
pub mod embed;
pub mod glu;
pub mod linear;
pub mod lora;
pub mod model;
pub mod multiply_add;
pub mod random;
pub mod rms_norm;
pub mod rope;
pub mod rows;
pub mod sample;
pub mod scalar_head;
pub mod short_conv;
pub mod token_stats;

pub use adamw::{AdamW, adamw, grad_norm};
pub use attention::{AttentionShape, attention};
pub use attention_backward::{AttentionGradients, attention_backward};
pub use cap_logits::{cap_logits, cap_logits_backward};
pub use embed::embed;
pub use glu::{ActivationFn, gelu, glu, glu_backward, silu};
pub use linear::{linear, linear_backward};
pub use lora::{
    lora_expand, lora_expand_backward, lora_grad_a, lora_grad_b, lora_shrink, lora_shrink_backward,
};
pub use multiply_add::multiply_add;
pub use rms_norm::{head_norm, head_norm_backward, rms_norm, rms_norm_backward};
pub use rope::rope;
pub use rows::{gather_rows, scatter_rows};
pub use scalar_head::{scalar_head, scalar_head_backward};
pub use short_conv::{ShortConvGradients, short_conv, short_conv_backward, short_conv_input};
pub use token_stats::{TokenStats, token_stats, token_stats_backward};
