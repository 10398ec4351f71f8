//! The GPUs of the machine.

use parr::gpu::Device;

/// A GPU, or a CPU that acts as one.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct GpuInfo {
    /// Its place in the list; [`ModelOptions::gpu`](crate::ModelOptions) takes it as text.
    pub index: u32,
    /// The driver's name for it; [`ModelOptions::gpu`](crate::ModelOptions) takes any part of it.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: String,
    /// Driver and version, as the driver tells it.
    pub driver: String,
}

/// All there are, in the order of their indices.
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
