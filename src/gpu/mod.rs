//! Devices, buffers, the WGSL linker, pipelines and submission.
//!
//! This layer handles kernels by name and memory by size; it does not depend on models. All calls of
//! wgpu are here, so that a lost device, a refused shader or a limit becomes a [`DeviceError`] in one
//! place.

mod adapter;
mod buffer;
mod by_device;
mod compose;
mod device;
mod error;
mod kernel;
mod limits;
mod opened;
mod pipeline;
mod pipeline_store;
mod profile;
mod recording;
mod refused;
mod source;
mod submitter;
mod texture;
mod tile;
mod transfer;
mod tuned;
mod tuning;

pub use adapter::{AdapterSummary, Capabilities};
pub use buffer::MemoryUse;
pub use compose::ComposeError;
pub use device::{Device, DeviceOptions, Measurements};
pub use error::DeviceError;
pub use refused::RefusedKernel;
pub use tile::Tile;
pub use tuned::{MEASURED_ROWS, Outputs, ProductTimes, TileTime, Tuned};
pub use tuning::{KernelFamily, Lane8Tile, Loads, Tuning};

// Kernels and the linker: public for the checks behind `internals`.
#[cfg(not(feature = "internals"))]
pub(crate) use self::internals::*;
#[cfg(feature = "internals")]
pub use self::internals::*;

#[allow(unused_imports, reason = "used in full by the checks behind `internals`")]
mod internals {
    pub use super::buffer::Buffer;
    pub use super::compose::{Composed, Origin, compose};
    pub use super::kernel::{Access, KernelSpec, Specialization};
    pub use super::limits::{
        REQUIRED_BINDING_BYTES, REQUIRED_GRID, REQUIRED_LANES, REQUIRED_STORAGE_BUFFERS,
        REQUIRED_WORKGROUP_BYTES,
    };
    pub use super::pipeline::ComputePipeline;
    pub use super::profile::KernelTime;
    pub use super::recording::{Binding, Recording};
    pub use super::source::{shader_names, shader_source};
    pub use super::texture::Texture;
}
