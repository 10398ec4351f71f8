//! Words in textures, for drivers that load from textures faster than from buffers.

use std::sync::Arc;

use super::buffer::{Buffer, MemoryMeter};
use super::device::Device;
use super::error::DeviceError;
use super::opened::{Work, lock};
use super::recording::Binding;
use super::tuning::{KernelFamily, Loads};

/// Texels per row, as in `shaders/lib/texel.wgsl`. Rows are as short as WebGPU's limit of 8192 rows allows for
/// the 128 MiB of its largest binding: the last row is padded.
const ROW_TEXELS: u64 = 1024;

/// Bytes of a texel: four words.
const TEXEL_BYTES: u64 = 16;

/// Bytes of the texture for the operands of products: eight rows, a tile, of the widest vocabulary (262144).
const OPERAND_BYTES: u64 = 8 << 20;

/// A copy of a buffer's words that kernels read as `texture_2d<u32>`, four words a texel. Clones share the
/// memory.
#[derive(Clone, Debug)]
pub struct Texture {
    allocation: Arc<Allocation>,
}

/// Freed, and no longer counted, with the last clone.
#[derive(Debug)]
struct Allocation {
    raw: wgpu::Texture,
    view: wgpu::TextureView,
    generation: u32,
    bytes: u64,
    meter: Arc<MemoryMeter>,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.meter.remove(self.bytes);
    }
}

impl Texture {
    /// Size in bytes, padding included.
    pub fn bytes(&self) -> u64 {
        self.allocation.bytes
    }

    /// The whole texture as a binding of a kernel.
    pub fn binding(&self) -> Binding {
        Binding::texture(&self.allocation.view, self.allocation.generation)
    }

    /// A copy of `bytes` bytes of `from`, from byte `at` on, both multiples of a texel.
    fn fill(&self, from: &wgpu::Buffer, at: u64, bytes: u64) -> Fill {
        Fill { from: from.clone(), at, to: self.allocation.raw.clone(), texels: bytes / TEXEL_BYTES }
    }
}

/// A copy from a buffer to a texture.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    from: wgpu::Buffer,
    /// First byte.
    at: u64,
    to: wgpu::Texture,
    texels: u64,
}

impl Fill {
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let (rows, rest) = (self.texels / ROW_TEXELS, self.texels % ROW_TEXELS);
        for (first, width, height) in [(0, ROW_TEXELS, rows), (rows, rest, 1)] {
            if width == 0 || height == 0 {
                continue;
            }
            let layout = wgpu::TexelCopyBufferLayout {
                offset: self.at + first * ROW_TEXELS * TEXEL_BYTES,
                bytes_per_row: Some((ROW_TEXELS * TEXEL_BYTES) as u32),
                rows_per_image: None,
            };
            let mut to = self.to.as_image_copy();
            to.origin.y = first as u32;
            let size =
                wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 };
            encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo { buffer: &self.from, layout },
                to,
                size,
            );
        }
    }
}

impl Device {
    /// Bytes of the largest texture.
    pub fn max_texture_bytes(&self) -> u64 {
        u64::from(self.capabilities().max_texture_rows) * ROW_TEXELS * TEXEL_BYTES
    }

    /// A texture for `bytes` bytes of words, rounded up to whole rows; `what` names it in errors.
    fn texture(&self, what: &str, bytes: u64) -> Result<Texture, DeviceError> {
        let allowed = self.max_texture_bytes();
        if bytes > allowed {
            return Err(DeviceError::Limit {
                what: what.to_owned(),
                needed: bytes,
                allowed,
                limit: "largest texture, in bytes",
            });
        }
        let rows = bytes.div_ceil(ROW_TEXELS * TEXEL_BYTES).max(1);
        let opened = self.opened();
        let (raw, view) = opened.call(what, |raw, _| {
            let texture = raw.create_texture(&wgpu::TextureDescriptor {
                label: Some(what),
                size: wgpu::Extent3d {
                    width: ROW_TEXELS as u32,
                    height: rows as u32,
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Uint,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
            (texture, view)
        })?;
        let bytes = rows * ROW_TEXELS * TEXEL_BYTES;
        let meter = self.meter();
        meter.add(bytes);
        let allocation = Allocation { raw, view, generation: opened.generation, bytes, meter };
        Ok(Texture { allocation: Arc::new(allocation) })
    }

    /// A texture with the words of `buffer`, which is no longer needed afterwards.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::Limit`] if it exceeds the largest texture;
    /// * [`DeviceError::OutOfMemory`] if the device has no memory left.
    pub fn texture_of(&self, what: &str, buffer: &Buffer<u32>) -> Result<Texture, DeviceError> {
        let texture = self.texture(what, buffer.bytes())?;
        let fill = texture.fill(&buffer.allocation.raw, 0, buffer.bytes());
        self.opened().submit(what, |raw| {
            let mut encoder = raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            fill.encode(&mut encoder);
            (Some(encoder.finish()), Work { commands: 1, ..Work::default() })
        })?;
        // The buffer exists until its copy ends: without this wait, a whole model would be there twice.
        self.wait()?;
        Ok(texture)
    }

    /// Rows of `stride` elements, each a multiple of 4, that [`Device::operand`] takes at once: a multiple of 8,
    /// the rows of a tile, if that many fit.
    pub fn operand_rows(&self, stride: usize) -> usize {
        let most = OPERAND_BYTES as usize / (size_of::<f32>() * stride.max(1));
        if most >= 8 { most / 8 * 8 } else { most.max(1) }
    }

    /// A binding that holds elements `at..at + len` of `buffer` in a texture when a dispatch that binds it runs.
    /// Both are multiples of 4. All such bindings share one texture, so a dispatch can have only one.
    ///
    /// # Errors
    ///
    /// * [`DeviceError::Limit`] if they do not fit the texture;
    /// * [`DeviceError::OutOfMemory`] if the device has no memory left for it.
    pub fn operand(&self, buffer: &Buffer<f32>, at: usize, len: usize) -> Result<Binding, DeviceError> {
        debug_assert!(at + len <= buffer.len(), "an operand past the end of a buffer");
        let [first, bytes] = [at, len].map(|elements| (elements * size_of::<f32>()) as u64);
        if bytes > OPERAND_BYTES {
            return Err(DeviceError::Limit {
                what: "the operand of a product".to_owned(),
                needed: bytes,
                allowed: OPERAND_BYTES,
                limit: "texture of operands, in bytes",
            });
        }
        let texture = self.operand_texture()?;
        Ok(texture.binding().filled_by(texture.fill(&buffer.allocation.raw, first, bytes)))
    }

    /// Allocates what [`Device::operand`] needs, if products read operands from a texture, so that it belongs to
    /// the memory of a model. Returns its bytes.
    ///
    /// # Errors
    ///
    /// As [`Device::operand`].
    pub fn reserve_operand(&self) -> Result<u64, DeviceError> {
        let tuning = self.tuning();
        if tuning.loads == Loads::Textures && tuning.family == KernelFamily::Lane8 {
            return Ok(self.operand_texture()?.bytes());
        }
        Ok(0)
    }

    fn operand_texture(&self) -> Result<Texture, DeviceError> {
        let opened = self.opened();
        let mut shared = lock(&opened.operands);
        if shared.is_none() {
            *shared = Some(self.texture("the operands of products", OPERAND_BYTES)?);
        }
        Ok(shared.clone().expect("just allocated"))
    }
}
