//! Compiled kernels, cached in memory by specialisation and on disk where the driver allows.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::compose::{ComposeError, Composed, compose};
use super::device::{Device, lock};
use super::error::DeviceError;
use super::kernel::{Access, KernelSpec, Specialization};
use crate::atomic;

/// A compiled kernel.
#[derive(Debug)]
pub struct ComputePipeline {
    pub(super) name: &'static str,
    pub(super) variant: Specialization,
    pub(super) raw: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) params_bytes: usize,
    pub(super) bindings: &'static [Access],
}

impl Device {
    /// The pipeline of a kernel's specialisation: compiled on first use, then cached.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Compose`] or [`DeviceError::Rejected`] if the shader is at fault.
    pub fn pipeline(
        &self,
        spec: &KernelSpec,
        variant: &Specialization,
    ) -> Result<Arc<ComputePipeline>, DeviceError> {
        let key = (spec.name, variant.clone());
        if let Some(pipeline) = lock(&self.inner.pipelines).get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(self.compile(spec, variant)?);
        lock(&self.inner.pipelines).insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }

    fn compile(&self, spec: &KernelSpec, variant: &Specialization) -> Result<ComputePipeline, DeviceError> {
        let composed = compose(spec.name, &variant.slots, &variant.consts)?;
        let raw = self.raw();
        let scope = raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = raw.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(spec.name),
            source: wgpu::ShaderSource::Wgsl(composed.text.as_str().into()),
        });
        let uniform = wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset: true,
            min_binding_size: None,
        };
        let types =
            std::iter::once(uniform).chain(spec.bindings.iter().map(|access| wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: *access == Access::Read },
                has_dynamic_offset: false,
                min_binding_size: None,
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
            cache: self.inner.store.as_ref().map(PipelineStore::cache_to_fill),
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(located(spec.name, variant, &composed, &error.to_string()));
        }
        Ok(ComputePipeline {
            name: spec.name,
            variant: variant.clone(),
            raw: pipeline,
            layout,
            params_bytes: spec.params_bytes,
            bindings: spec.bindings,
        })
    }
}

/// The driver's complaint, at the author's file and line if the text itself is at fault.
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

/// The driver's compiled pipelines in a file of the cache directory, one per adapter and driver.
#[derive(Debug)]
pub(super) struct PipelineStore {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    filled: AtomicBool,
}

impl PipelineStore {
    pub(super) fn open(device: &wgpu::Device, adapter: &wgpu::Adapter) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(&adapter.get_info())?;
        let path = crate::cache::directory()?.join("pipelines").join(key);
        let data = std::fs::read(&path).ok();
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("parr"), data: data.as_deref(), fallback: true };
        // SAFETY: the data came from `PipelineCache::get_data` under the same adapter key, in a
        // directory that only this user writes; `fallback` drops it if the driver finds it damaged.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(PipelineStore { cache, path, filled: AtomicBool::new(false) })
    }

    /// The cache for a pipeline that is about to be compiled.
    fn cache_to_fill(&self) -> &wgpu::PipelineCache {
        self.filled.store(true, Ordering::Relaxed);
        &self.cache
    }

    /// Writes what was compiled to disk, for the next start. A failure to write is not an error, only
    /// a slower next start.
    pub(super) fn save(&self) {
        if !self.filled.load(Ordering::Relaxed) {
            return;
        }
        let Some(data) = self.cache.get_data() else { return };
        let Some(directory) = self.path.parent() else { return };
        // A failure leaves the old file, or none.
        let _ = std::fs::create_dir_all(directory)
            .and_then(|()| atomic::write(&self.path, |file| file.write_all(&data)));
    }
}
