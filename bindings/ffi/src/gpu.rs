//! The GPUs of the machine.

use parr::gpu::Device;

/// A GPU, or a CPU that acts as one.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct GpuInfo {
    /// Position in the list. [`ModelOptions::gpu`](crate::ModelOptions) accepts it as text.
    pub index: u32,
    /// The driver's name for the GPU. [`ModelOptions::gpu`](crate::ModelOptions) accepts any part of the
    /// name.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: String,
    /// Name and version of the driver, as the driver reports them.
    pub driver: String,
}

/// All GPUs of the machine, in the order of their indices.
#[uniffi::export]
pub fn gpus() -> Vec<GpuInfo> {
    let info = |adapter: parr::gpu::AdapterSummary| GpuInfo {
        index: adapter.index as u32,
        name: adapter.name,
        backend: adapter.backend,
        kind: adapter.kind.to_owned(),
        driver: adapter.driver,
    };
    Device::adapters().into_iter().map(info).collect()
}
