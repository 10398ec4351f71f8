//! Compiled kernels, cached in memory by specialisation and on disk where the driver allows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::compose::{ComposeError, Composed, compose};
use super::device::Device;
use super::error::DeviceError;
use super::kernel::{Access, KernelSpec, Specialization};
use super::opened::{Opened, lock};
use super::pipeline_store::PipelineStore;
use super::refused::RefusedKernel;

/// A compiled kernel.
#[derive(Debug)]
pub struct ComputePipeline {
    pub(super) name: &'static str,
    pub(super) variant: Specialization,
    pub(super) raw: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) params_bytes: usize,
    pub(super) bindings: &'static [Access],
    /// Generation of the device that it belongs to.
    pub(super) generation: u32,
    /// Whether it was submitted: some drivers compile it only then.
    pub(super) ran: AtomicBool,
}

impl Device {
    /// The pipeline of a kernel's specialisation: compiled on first use, then cached.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::Compose`] or [`DeviceError::Rejected`] if the shader is at fault;
    /// * [`DeviceError::Lost`] if the driver refused to compile it. That costs the device. The kernel is
    ///   remembered, so that after [`Device::reopen`] the other kernel family is used instead of it.
    pub fn pipeline(
        &self,
        spec: &KernelSpec,
        variant: &Specialization,
    ) -> Result<Arc<ComputePipeline>, DeviceError> {
        let opened = self.opened();
        let key = (spec.name, variant.clone());
        if let Some(pipeline) = lock(&opened.pipelines).get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let _turn = lock(&opened.compiling);
        if let Some(pipeline) = lock(&opened.pipelines).get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        opened.check(spec.name)?;
        let compiled = compile(&opened, spec, variant);
        if compiled.is_err() && opened.is_refused() {
            opened.explain(format!("its driver refused the kernel `{}` ({})", spec.name, variant.describe()));
            if let Some(kernel) = RefusedKernel::of(spec, variant) {
                self.refuse(kernel);
            }
            opened.check(spec.name)?;
        }
        let pipeline = Arc::new(compiled?);
        lock(&opened.pipelines).insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

fn compile(
    opened: &Opened,
    spec: &KernelSpec,
    variant: &Specialization,
) -> Result<ComputePipeline, DeviceError> {
    let composed = compose(spec.name, &variant.slots, &variant.consts)?;
    let cache = opened.store.as_ref().map(PipelineStore::cache_to_fill);
    let (error, raw, layout) = opened.call(spec.name, |raw, _| {
        let scope = raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let (pipeline, layout) = create(raw, spec, variant, &composed.text, cache);
        (pollster::block_on(scope.pop()), pipeline, layout)
    })?;
    if let Some(error) = error {
        return Err(located(spec.name, variant, &composed, &error.to_string()));
    }
    Ok(ComputePipeline {
        name: spec.name,
        variant: variant.clone(),
        raw,
        layout,
        params_bytes: spec.params_bytes,
        bindings: spec.bindings,
        generation: opened.generation,
        ran: AtomicBool::new(false),
    })
}

fn create(
    raw: &wgpu::Device,
    spec: &KernelSpec,
    variant: &Specialization,
    text: &str,
    cache: Option<&wgpu::PipelineCache>,
) -> (wgpu::ComputePipeline, wgpu::BindGroupLayout) {
    let module = raw.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(spec.name),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let uniform = wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: true,
        min_binding_size: None,
    };
    let types = std::iter::once(uniform).chain(spec.bindings.iter().map(|&access| {
        if variant.is_texture(access) {
            return wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Uint,
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            };
        }
        wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: access != Access::Write },
            has_dynamic_offset: false,
            min_binding_size: None,
        }
    }));
    let entries: Vec<_> = types
        .enumerate()
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        })
        .collect();
    let layout = raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(spec.name),
        entries: &entries,
    });
    let pipeline_layout = raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(spec.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(spec.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache,
    });
    (pipeline, layout)
}

/// The driver's error, with the source file and line if the shader text is at fault.
fn located(name: &str, variant: &Specialization, composed: &Composed, reason: &str) -> DeviceError {
    if let Err(error) = naga::front::wgsl::parse_str(&composed.text) {
        let line = error.location(&composed.text).map_or(0, |location| location.line_number);
        if let Some(origin) = composed.origin(line) {
            return DeviceError::Compose(ComposeError::Invalid {
                file: origin.file.clone(),
                line: origin.line,
                reason: error.message().to_owned(),
            });
        }
    }
    DeviceError::Rejected {
        what: format!("shader `{name}` ({})", variant.describe()),
        reason: reason.to_owned(),
    }
}
