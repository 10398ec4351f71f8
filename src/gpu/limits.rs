//! The limits that a device must have to run the kernels.

/// Lanes per workgroup that the largest kernel needs.
pub const REQUIRED_LANES: u32 = 256;
/// Bytes of workgroup memory that kernels may use: what WebGPU promises on every device.
pub const REQUIRED_WORKGROUP_BYTES: u32 = 16 << 10;
/// Storage buffers that the kernel with the most bindings needs.
pub const REQUIRED_STORAGE_BUFFERS: u32 = 7;
/// Workgroups per axis of a dispatch: what WebGPU promises on every device.
pub const REQUIRED_GRID: u32 = 65_535;
/// Bytes of the smallest useful storage binding: larger tensors are split by rows, and a row must fit.
pub const REQUIRED_BINDING_BYTES: u64 = 1 << 20;

/// What an adapter with `limits` lacks, as text such as `it allows 128 lanes per workgroup, and 256 are
/// needed`; `None` if it can run all kernels.
pub(super) fn lacking(limits: &wgpu::Limits) -> Option<String> {
    let small = |what: &str, has: u64, needed: u64| {
        (has < needed).then(|| format!("it allows {has} {what}, and {needed} are needed"))
    };
    let lanes = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    let buffers = limits.max_storage_buffers_per_shader_stage;
    [
        small("lanes (invocations) per workgroup", lanes.into(), REQUIRED_LANES.into()),
        small("storage buffers per shader", buffers.into(), REQUIRED_STORAGE_BUFFERS.into()),
        small(
            "bytes of workgroup memory",
            limits.max_compute_workgroup_storage_size.into(),
            REQUIRED_WORKGROUP_BYTES.into(),
        ),
        small(
            "workgroups per axis of a dispatch",
            limits.max_compute_workgroups_per_dimension.into(),
            REQUIRED_GRID.into(),
        ),
        small(
            "bytes per storage binding",
            limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            REQUIRED_BINDING_BYTES,
        ),
    ]
    .into_iter()
    .flatten()
    .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_small_is_named_with_both_numbers() {
        let sound = wgpu::Limits::default();
        assert_eq!(lacking(&sound), None);
        let lanes = wgpu::Limits { max_compute_invocations_per_workgroup: 128, ..sound.clone() };
        assert_eq!(
            lacking(&lanes).as_deref(),
            Some("it allows 128 lanes (invocations) per workgroup, and 256 are needed")
        );
        let buffers = wgpu::Limits { max_storage_buffers_per_shader_stage: 6, ..sound.clone() };
        assert_eq!(
            lacking(&buffers).as_deref(),
            Some("it allows 6 storage buffers per shader, and 7 are needed")
        );
        let memory = wgpu::Limits { max_compute_workgroup_storage_size: 1 << 13, ..sound.clone() };
        assert_eq!(
            lacking(&memory).as_deref(),
            Some("it allows 8192 bytes of workgroup memory, and 16384 are needed")
        );
        let grid = wgpu::Limits { max_compute_workgroups_per_dimension: 1000, ..sound.clone() };
        assert!(lacking(&grid).is_some_and(|text| text.contains("1000 workgroups")));
        let binding = wgpu::Limits { max_storage_buffer_binding_size: 65_536, ..sound };
        assert!(lacking(&binding).is_some_and(|text| text.contains("65536 bytes per storage binding")));
    }
}
