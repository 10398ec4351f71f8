//! A list of dispatches, copies and clears: recorded once, then submitted any number of times.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::device::Device;
use super::error::DeviceError;
use super::opened::{Opened, Work};
use super::pipeline::ComputePipeline;
use super::texture::Fill;

/// A buffer or a texture as a binding of a kernel.
#[derive(Clone, Debug)]
pub struct Binding {
    resource: Resource,
    /// Filled before the dispatch.
    filled: Option<Fill>,
    /// Generation of the device that the resource belongs to.
    generation: u32,
}

#[derive(Clone, Debug)]
enum Resource {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

impl Binding {
    pub(super) fn buffer(raw: &wgpu::Buffer, generation: u32) -> Self {
        Binding { resource: Resource::Buffer(raw.clone()), filled: None, generation }
    }

    pub(super) fn texture(raw: &wgpu::TextureView, generation: u32) -> Self {
        Binding { resource: Resource::Texture(raw.clone()), filled: None, generation }
    }

    fn resource(&self) -> wgpu::BindingResource<'_> {
        match &self.resource {
            Resource::Buffer(buffer) => buffer.as_entire_binding(),
            Resource::Texture(view) => wgpu::BindingResource::TextureView(view),
        }
    }

    /// The same, filled by `fill` before every dispatch that binds it.
    pub(super) fn filled_by(self, fill: Fill) -> Self {
        Binding { filled: Some(fill), ..self }
    }
}

#[derive(Debug)]
enum Command {
    Dispatch {
        pipeline: Arc<ComputePipeline>,
        bindings: Vec<Binding>,
        params_at: usize,
        grid: [u32; 3],
        flops: u64,
    },
    Copy {
        from: wgpu::Buffer,
        from_bytes: u64,
        to: wgpu::Buffer,
        to_bytes: u64,
        bytes: u64,
    },
    Clear {
        buffer: wgpu::Buffer,
        at_bytes: u64,
        bytes: u64,
    },
}

/// Dispatches, copies and clears in order; nothing runs until [`Recording::submit`]. A recording can be
/// submitted again: values that change between runs are read from buffers.
#[derive(Debug)]
pub struct Recording {
    device: Device,
    commands: Vec<Command>,
    params: Vec<u8>,
    bound: Option<Vec<Option<wgpu::BindGroup>>>,
    /// Generation of the device that it belongs to.
    generation: u32,
    /// Whether a buffer or a pipeline belongs to another generation of the device.
    stale: bool,
}

impl Recording {
    /// An empty recording for `device`.
    pub fn new(device: &Device) -> Self {
        Recording {
            device: device.clone(),
            commands: Vec::new(),
            params: Vec::new(),
            bound: None,
            generation: device.generation(),
            stale: false,
        }
    }

    /// The device that runs it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of dispatches recorded.
    pub fn dispatches(&self) -> usize {
        self.commands.iter().filter(|command| matches!(command, Command::Dispatch { .. })).count()
    }

    /// The recorded kernels and their specialisations as text, one entry per dispatch.
    pub fn specializations(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.commands.iter().filter_map(|command| match command {
            Command::Dispatch { pipeline, .. } => Some((pipeline.name, pipeline.variant.describe())),
            Command::Copy { .. } | Command::Clear { .. } => None,
        })
    }

    /// Records one dispatch of `grid` workgroups. `flops` is its number of floating-point operations, by
    /// which submits are split. An empty grid records nothing.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`] if the grid is larger than the device allows.
    pub fn dispatch<P: bytemuck::Pod>(
        &mut self,
        pipeline: &Arc<ComputePipeline>,
        params: &P,
        bindings: &[Binding],
        grid: [u32; 3],
        flops: u64,
    ) -> Result<(), DeviceError> {
        debug_assert_eq!(size_of::<P>(), pipeline.params_bytes, "params of {}", pipeline.name);
        debug_assert_eq!(bindings.len(), pipeline.bindings.len(), "bindings of {}", pipeline.name);
        if grid.contains(&0) {
            return Ok(());
        }
        let allowed = self.device.capabilities().max_grid;
        if let Some(&needed) = grid.iter().find(|&&extent| extent > allowed) {
            return Err(DeviceError::Limit {
                what: format!("a dispatch of {}", pipeline.name),
                needed: u64::from(needed),
                allowed: u64::from(allowed),
                limit: "workgroups per axis",
            });
        }
        let alignment = self.device.capabilities().uniform_alignment.max(16) as usize;
        let params_at = self.params.len().next_multiple_of(alignment);
        self.params.resize(params_at, 0);
        self.params.extend_from_slice(bytemuck::bytes_of(params));
        let generations = bindings.iter().map(|binding| binding.generation);
        self.expect(generations.chain([pipeline.generation]));
        self.commands.push(Command::Dispatch {
            pipeline: Arc::clone(pipeline),
            bindings: bindings.to_vec(),
            params_at,
            grid,
            flops,
        });
        self.bound = None;
        Ok(())
    }

    /// Records a copy of `len` elements.
    pub fn copy<T: bytemuck::Pod>(
        &mut self,
        from: &Buffer<T>,
        from_at: usize,
        to: &Buffer<T>,
        to_at: usize,
        len: usize,
    ) {
        let size = size_of::<T>();
        debug_assert!(from_at + len <= from.len() && to_at + len <= to.len(), "copy out of bounds");
        if len == 0 {
            return;
        }
        self.expect([from.allocation.generation, to.allocation.generation]);
        self.commands.push(Command::Copy {
            from: from.allocation.raw.clone(),
            from_bytes: (from_at * size) as u64,
            to: to.allocation.raw.clone(),
            to_bytes: (to_at * size) as u64,
            bytes: (len * size) as u64,
        });
        self.bound = None;
    }

    /// Records zeros into elements `at..at + len`, which must start and end at multiples of 4 bytes.
    pub fn clear<T: bytemuck::Pod>(&mut self, buffer: &Buffer<T>, at: usize, len: usize) {
        let size = size_of::<T>();
        debug_assert!(at + len <= buffer.len(), "clear past the end of a buffer");
        debug_assert!(
            (at * size).is_multiple_of(4) && (len * size).is_multiple_of(4),
            "clear of part of a word"
        );
        if len == 0 {
            return;
        }
        self.expect([buffer.allocation.generation]);
        self.commands.push(Command::Clear {
            buffer: buffer.allocation.raw.clone(),
            at_bytes: (at * size) as u64,
            bytes: (len * size) as u64,
        });
        self.bound = None;
    }

    /// Notes the generations of the device that the buffers and the pipeline of a command belong to.
    fn expect(&mut self, generations: impl IntoIterator<Item = u32>) {
        self.stale |= generations.into_iter().any(|generation| generation != self.generation);
    }

    /// Builds the uniform buffer and the bind groups, once.
    fn bind(&mut self, opened: &Opened) -> Result<(), DeviceError> {
        const WHAT: &str = "a recording";
        if self.bound.is_some() || self.commands.is_empty() {
            return Ok(());
        }
        let largest = self.commands.iter().map(|command| match command {
            Command::Dispatch { pipeline, .. } => pipeline.params_bytes,
            Command::Copy { .. } | Command::Clear { .. } => 0,
        });
        // Every bind group binds a window of the size of its params, so the end needs no padding
        // beyond the 16 bytes to which a uniform struct is rounded.
        let slack = largest.max().unwrap_or(0).next_multiple_of(16);
        let size = (self.params.len() + slack) as u64;
        self.params.resize(self.params.len().next_multiple_of(4), 0);
        let uniforms = opened.call(WHAT, |raw, _| {
            raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        opened.stage(&uniforms, 0, &self.params)?;
        let bound = opened.call(WHAT, |raw, _| {
            self.commands.iter().map(|command| bind_group(raw, command, &uniforms)).collect()
        })?;
        self.bound = Some(bound);
        Ok(())
    }

    /// Runs everything recorded, in submits of at most the device's work budget; returns without
    /// waiting, so that a read or [`Device::wait`] may follow.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::Lost`] if the device is lost, or was opened again since this was recorded;
    /// * [`DeviceError::OutOfMemory`] if the device has no memory left for it;
    /// * [`DeviceError::Rejected`] if a command was invalid.
    pub fn submit(&mut self) -> Result<(), DeviceError> {
        let opened = self.device.opened();
        opened.check("a submission")?;
        if self.stale || opened.generation != self.generation {
            return Err(DeviceError::stale());
        }
        self.bind(&opened)?;
        let Some(groups) = &self.bound else { return Ok(()) };
        let budget = self.device.tuning().submit_flops;
        let profiling = self.device.is_profiling();
        let mut start = 0;
        while start < self.commands.len() {
            let mut end = start;
            let mut work = Work::default();
            while end < self.commands.len() && (end == start || work.flops < budget) {
                if profiling && end - start >= MAX_TIMED {
                    break;
                }
                work.commands += 1;
                if let Command::Dispatch { flops, pipeline, .. } = &self.commands[end] {
                    work.flops += flops;
                    work.first_runs += u32::from(!pipeline.ran.swap(true, Ordering::Relaxed));
                }
                end += 1;
            }
            self.submit_range(&opened, start..end, work, groups, profiling)?;
            start = end;
        }
        Ok(())
    }

    /// Runs everything recorded after all earlier work, and returns how long that takes.
    ///
    /// # Errors
    ///
    /// As [`Recording::submit`].
    pub fn time(&mut self) -> Result<Duration, DeviceError> {
        self.device.wait()?;
        let start = Instant::now();
        self.submit()?;
        self.device.wait()?;
        Ok(start.elapsed())
    }

    fn submit_range(
        &self,
        opened: &Opened,
        range: Range<usize>,
        work: Work,
        groups: &[Option<wgpu::BindGroup>],
        profiling: bool,
    ) -> Result<(), DeviceError> {
        const WHAT: &str = "a submission";
        let mut timed: Vec<Timed> = Vec::new();
        let timer =
            if profiling { Some(opened.call(WHAT, |raw, _| Timer::new(raw, range.len()))?) } else { None };
        opened.submit(WHAT, |raw| {
            let mut encoder =
                raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("parr") });
            self.encode(&mut encoder, range, groups, timer.as_ref(), &mut timed);
            if let Some(timer) = &timer {
                timer.resolve(&mut encoder, timed.len());
            }
            (Some(encoder.finish()), work)
        })?;
        match timer {
            Some(timer) => timer.collect(&self.device, opened, &timed),
            None => Ok(()),
        }
    }

    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        range: Range<usize>,
        groups: &[Option<wgpu::BindGroup>],
        timer: Option<&Timer>,
        timed: &mut Vec<Timed>,
    ) {
        let mut index = range.start;
        while index < range.end {
            match &self.commands[index] {
                Command::Copy { from, from_bytes, to, to_bytes, bytes } => {
                    encoder.copy_buffer_to_buffer(from, *from_bytes, to, *to_bytes, *bytes);
                    index += 1;
                    continue;
                }
                Command::Clear { buffer, at_bytes, bytes } => {
                    encoder.clear_buffer(buffer, *at_bytes, Some(*bytes));
                    index += 1;
                    continue;
                }
                Command::Dispatch { .. } => {}
            }
            for fill in fills(&self.commands[index]) {
                fill.encode(encoder);
            }
            // One pass for a run of dispatches: a separate pass for each would double its cost.
            let first = index;
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mut last: *const ComputePipeline = std::ptr::null();
            while let Some(Command::Dispatch { pipeline, params_at, grid, flops, .. }) =
                self.commands.get(index).filter(|_| index < range.end)
            {
                if index > first && fills(&self.commands[index]).next().is_some() {
                    break;
                }
                if last != Arc::as_ptr(pipeline) {
                    pass.set_pipeline(&pipeline.raw);
                    last = Arc::as_ptr(pipeline);
                }
                pass.set_bind_group(0, groups[index].as_ref(), &[*params_at as u32]);
                if let Some(timer) = timer {
                    pass.write_timestamp(&timer.queries, 2 * timed.len() as u32);
                }
                pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
                if let Some(timer) = timer {
                    pass.write_timestamp(&timer.queries, 2 * timed.len() as u32 + 1);
                    timed.push((Arc::clone(pipeline), *flops));
                }
                index += 1;
            }
        }
    }
}

/// What fills the textures of a dispatch.
fn fills(command: &Command) -> impl Iterator<Item = &Fill> {
    let bindings = match command {
        Command::Dispatch { bindings, .. } => bindings.as_slice(),
        Command::Copy { .. } | Command::Clear { .. } => &[],
    };
    bindings.iter().filter_map(|binding| binding.filled.as_ref())
}

/// The bind group of a dispatch, with a window of `uniforms`.
fn bind_group(raw: &wgpu::Device, command: &Command, uniforms: &wgpu::Buffer) -> Option<wgpu::BindGroup> {
    let Command::Dispatch { pipeline, bindings, .. } = command else { return None };
    let window = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: uniforms,
        offset: 0,
        size: std::num::NonZeroU64::new(pipeline.params_bytes.next_multiple_of(16) as u64),
    });
    let resources = std::iter::once(window).chain(bindings.iter().map(Binding::resource));
    let entries: Vec<_> = resources
        .enumerate()
        .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource })
        .collect();
    Some(raw.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(pipeline.name),
        layout: &pipeline.layout,
        entries: &entries,
    }))
}

/// Dispatches timed per submit; WebGPU allows 4096 queries per set, and each dispatch needs two.
const MAX_TIMED: usize = 2000;

/// A dispatch that is timed, and its floating-point operations.
type Timed = (Arc<ComputePipeline>, u64);

/// Timestamps around every dispatch of one submit.
struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
}

impl Timer {
    fn new(raw: &wgpu::Device, dispatches: usize) -> Self {
        let count = 2 * dispatches.max(1) as u32;
        let buffer = |usage| {
            raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(count) * 8,
                usage,
                mapped_at_creation: false,
            })
        };
        Timer {
            queries: raw.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        }
    }

    fn resolve(&self, encoder: &mut wgpu::CommandEncoder, dispatches: usize) {
        let count = 2 * dispatches as u32;
        if count > 0 {
            encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, u64::from(count) * 8);
        }
    }

    fn collect(&self, device: &Device, opened: &Opened, timed: &[Timed]) -> Result<(), DeviceError> {
        if timed.is_empty() {
            return Ok(());
        }
        let bytes = timed.len() as u64 * 16;
        let period = f64::from(opened.timestamp_period);
        device.read_mapped(opened, "timestamps", &self.readable, bytes, |mapped| {
            for ((pipeline, flops), stamps) in timed.iter().zip(mapped.chunks_exact(16)) {
                let stamp = |at: usize| {
                    u64::from_le_bytes(stamps[at..at + 8].try_into().expect("eight bytes a stamp"))
                };
                let ticks = stamp(8).saturating_sub(stamp(0));
                device.profile().add(pipeline, (ticks as f64 * period) as u64, *flops);
            }
        })
    }
}
