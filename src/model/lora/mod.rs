//! LoRA (arXiv 2106.09685): adapters on the host and on the device.
//!
//! A projection `y = W x` of the frozen base becomes `y = W x + scale B (A x)`, with `A` of shape
//! `(rank, inputs)` and `B` of shape `(outputs, rank)`.

mod bank;
mod blend;
mod projection;
mod weights;

pub use bank::{AdapterBank, AdapterId};
pub(crate) use bank::{LoraLayout, Site};
pub use projection::{ModuleNames, Projection, Projections};
pub use weights::{AdapterError, LoraConfig, LoraPair, LoraWeights, ScalarHead};
