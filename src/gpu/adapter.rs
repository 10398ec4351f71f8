//! The adapters of this machine and their capabilities.

use super::error::DeviceError;
use super::limits::lacking;
use crate::guarded::guarded;

/// One adapter of this machine, for lists.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// Index in the list, accepted by `--gpu`.
    pub index: usize,
    /// The driver's name for the adapter; `--gpu` accepts any part of the name.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Driver and version, as the driver reports them.
    pub driver: String,
    /// Why the adapter cannot be used, as text such as `it allows 128 lanes per workgroup, and 256 are
    /// needed`; `None` if it can be used.
    pub lacking: Option<String>,
}

/// The capabilities of an opened device: real limits, not defaults.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Name of the adapter.
    pub adapter: String,
    /// Back end, such as `vulkan`.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Whether the adapter is a software renderer on the CPU.
    pub software: bool,
    /// Whether shaders may use subgroup operations.
    pub subgroups: bool,
    /// Smallest and largest subgroup, in lanes.
    pub subgroup_sizes: (u32, u32),
    /// Whether shaders may compute in f16.
    pub f16: bool,
    /// Whether dispatches can be timed on the device.
    pub timestamps: bool,
    /// Bytes of immediates (push constants); 0 without them.
    pub immediate_bytes: u32,
    /// Memory of the device in bytes, if the driver reports it: on Vulkan.
    pub memory_bytes: Option<u64>,
    /// Largest storage binding, in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Rows of a texture.
    pub max_texture_rows: u32,
    /// Workgroup memory, in bytes.
    pub max_workgroup_bytes: u32,
    /// Lanes per workgroup.
    pub max_workgroup_lanes: u32,
    /// Workgroups per axis of a dispatch.
    pub max_grid: u32,
    /// Alignment of dynamic uniform offsets, in bytes.
    pub uniform_alignment: u32,
    /// Rounds of all loops of a shader together after which the driver ends it, without an error. Only llvmpipe has
    /// such a limit.
    pub loop_rounds: Option<u64>,
}

pub(super) fn kind(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

/// Rank for the choice when no adapter is named; smaller is better.
fn rank(device_type: wgpu::DeviceType) -> u8 {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

const BACKENDS: wgpu::Backends =
    wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// All adapters; none if a driver fails while it lists them.
fn enumerate() -> Vec<wgpu::Adapter> {
    let list = guarded(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = BACKENDS;
        descriptor.flags = wgpu::InstanceFlags::empty();
        pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(BACKENDS))
    });
    list.unwrap_or_default()
}

/// `LP_MAX_TGSI_LOOP_ITERATIONS` of Mesa's llvmpipe, which keeps shaders that never end from hanging the process.
const LLVMPIPE_LOOP_ROUNDS: u64 = 65_535;

/// An adapter that validates every call but computes nothing.
pub(super) fn noop() -> Result<wgpu::Adapter, DeviceError> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop.enable = true;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .map_err(|error| DeviceError::Refused { adapter: "noop".to_owned(), reason: error.to_string() })
}

/// What tells an adapter from others of the machine. Its index may change when another one is unplugged.
#[derive(Debug, PartialEq)]
pub(super) struct Identity {
    name: String,
    backend: wgpu::Backend,
    vendor: u32,
    device: u32,
    bus: String,
}

impl Identity {
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        Identity {
            name: info.name,
            backend: info.backend,
            vendor: info.vendor,
            device: info.device,
            bus: info.device_pci_bus_id,
        }
    }

    /// The adapter with this identity.
    pub fn find(&self) -> Result<wgpu::Adapter, DeviceError> {
        let mut adapters = enumerate();
        let Some(place) = adapters.iter().position(|adapter| Identity::of(adapter) == *self) else {
            let found: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
            return Err(DeviceError::AdapterNotFound { wanted: self.name.clone(), found: found.join(", ") });
        };
        Ok(adapters.swap_remove(place))
    }
}

/// All adapters, in the order of their indices.
pub(super) fn summaries() -> Vec<AdapterSummary> {
    let summary = |(index, adapter): (usize, &wgpu::Adapter)| {
        let info = adapter.get_info();
        AdapterSummary {
            index,
            backend: info.backend.to_string(),
            kind: kind(info.device_type),
            driver: driver(&info),
            lacking: lacking(&adapter.limits()),
            name: info.name,
        }
    };
    enumerate().iter().enumerate().map(summary).collect()
}

/// Driver and version in one text.
pub(super) fn driver(info: &wgpu::AdapterInfo) -> String {
    format!("{} {}", info.driver, info.driver_info).trim().to_owned()
}

/// The adapter that `wanted` names by index or by part of its name; the best adapter if `wanted` is `None`.
pub(super) fn choose(wanted: Option<&str>) -> Result<wgpu::Adapter, DeviceError> {
    let mut adapters = enumerate();
    if adapters.is_empty() {
        return Err(DeviceError::NoAdapter { backends: "Vulkan, Metal or DX12".to_owned() });
    }
    let Some(wanted) = wanted else {
        adapters.sort_by_key(|adapter| {
            (lacking(&adapter.limits()).is_some(), rank(adapter.get_info().device_type))
        });
        return Ok(adapters.swap_remove(0));
    };
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let needle = wanted.to_lowercase();
    let position = match wanted.parse::<usize>() {
        Ok(index) => Some(index).filter(|&index| index < adapters.len()),
        Err(_) => names.iter().position(|name| name.to_lowercase().contains(&needle)),
    };
    match position {
        Some(index) => Ok(adapters.swap_remove(index)),
        None => Err(DeviceError::AdapterNotFound { wanted: wanted.to_owned(), found: names.join(", ") }),
    }
}

/// The sum of the device's own heaps. WebGPU does not report it, so this queries the driver directly.
#[cfg(not(target_vendor = "apple"))]
fn memory_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`.
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the handles are used while `adapter` lives, and only to read properties.
    let memory = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
    Some(heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).sum())
}

/// Metal shares the system's memory and reports no limit in advance.
#[cfg(target_vendor = "apple")]
fn memory_bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}

impl Capabilities {
    /// Whether the adapter lacks the subgroups that the family `lane8` needs.
    pub(crate) fn is_narrow(&self) -> bool {
        !self.subgroups || self.subgroup_sizes.0 < 8
    }

    pub(super) fn of(adapter: &wgpu::Adapter, limits: &wgpu::Limits) -> Self {
        let info = adapter.get_info();
        let features = adapter.features();
        Capabilities {
            adapter: info.name.clone(),
            backend: info.backend.to_string(),
            driver: driver(&info),
            kind: kind(info.device_type),
            software: info.device_type == wgpu::DeviceType::Cpu,
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features
                .contains(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            immediate_bytes: if features.contains(wgpu::Features::IMMEDIATES) {
                limits.max_immediate_size
            } else {
                0
            },
            memory_bytes: memory_bytes(adapter),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_texture_rows: limits.max_texture_dimension_2d,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_workgroup_lanes: limits.max_compute_invocations_per_workgroup,
            max_grid: limits.max_compute_workgroups_per_dimension,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            loop_rounds: driver(&info).contains("llvmpipe").then_some(LLVMPIPE_LOOP_ROUNDS),
        }
    }
}
