//! Devices, buffers, the WGSL linker, pipelines and submission.
//!
//! This layer handles kernels by name and memory by size; it does not depend on models. All calls of
//! wgpu are here, so that a lost device, a refused shader or a limit becomes a [`DeviceError`] in one
//! place.

mod adapter;
mod buffer;
mod compose;
mod device;
mod error;
mod kernel;
mod pipeline;
mod pipeline_store;
mod profile;
mod recording;
mod source;
mod tuning;

pub use adapter::{AdapterSummary, Capabilities};
pub use buffer::{Buffer, MemoryUse};
pub use compose::{ComposeError, Composed, Origin, compose};
pub use device::{Device, DeviceOptions};
pub use error::DeviceError;
pub use kernel::{Access, KernelSpec, Specialization};
pub use pipeline::ComputePipeline;
pub use profile::KernelTime;
pub use recording::{Binding, Recording};
pub use source::{shader_names, shader_source};
pub use tuning::{KernelFamily, Lane8Tile, Tuning};
