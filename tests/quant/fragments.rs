//! Every weight fragment on a device: `scale * value + offset` is the decoded weight, bit for bit.
//!
//! Written against wgpu alone, so that it judges the fragments and not the engine around them.

use parr::quant::Quant;
use wgpu::naga;

use crate::support::gpu;
use crate::support::harness::ignore;

/// The kernel under test: what the linker would put together for a weight in storage buffers.
fn kernel(quant: Quant) -> String {
    let fragment = shader(quant.fragment());
    assert!(fragment.contains("//# provides weight\n"), "{quant}: no `provides` directive");
    let words = shader("read/weight_buffer");
    format!(
        "{fragment}
{words}
@group(0) @binding(0) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    if id.x * 8u >= arrayLength(&y) {{ return; }}
    let w = weight_open(id.x);
    // A fence against fragments that forget a binding: both are used whatever the format.
    if w_quants[0].x == 1u && w_scales[0] == 0xFFFFFFFFu {{ return; }}
    for (var j = 0u; j < 8u; j++) {{
        let s = weight_scale(w, j * 4u / WEIGHT_GROUP);
        y[id.x * 8u + j] = s.x * weight_quad(w, j) + s.y;
    }}
}}
"
    )
}

fn shader(name: &str) -> String {
    let path = format!("{}/shaders/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn fragments_validate_and_agree_on_the_group() {
    for quant in Quant::ALL {
        let source = kernel(*quant);
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{quant}: {}", e.emit_to_string(&source)));
        naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            // unpack2x16float; every Vulkan, Metal and DX12 device has it, with or without f16 types.
            naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        )
        .validate(&module)
        .unwrap_or_else(|e| panic!("{quant}: {}", e.emit_to_string(&source)));
        assert!(source.contains(&format!("const WEIGHT_GROUP: u32 = {}u;", quant.group())));
    }
}

#[test]
fn fragments_decode_exactly() {
    let (device, queue) = device();
    for quant in Quant::ALL {
        // An odd number of rows of 3 blocks, so that pairs of blocks straddle rows; the k-quants'
        // rows are whole super-blocks, the plain formats' are not whole blocks.
        let (rows, cols) = match quant.block_weights() {
            1 => (5, 83),
            32 => (5, 96),
            _ => (5, 512),
        };
        let mut bytes = Vec::new();
        let weights = super::golden_f32("weights.f32");
        let weights: Vec<f32> = (0..rows * cols)
            .map(|i| weights[i % 512] * (1.0 + (i / 512) as f32) + 0.01 * (i % 3) as f32)
            .collect();
        quant.encode(&weights, &mut bytes);
        // Blocks of random bits have values that the encoder does not choose.
        if quant.block_weights() == 256 {
            let random = super::golden(&format!("{quant}.blocks"));
            bytes[..random.len()].copy_from_slice(&random);
        }
        let mut expected = vec![0.0; rows * cols];
        quant.decode(&bytes, &mut expected);

        let packed = quant.pack(&bytes, rows, cols);
        let len = quant.packed_len(rows, cols).unwrap();
        assert_eq!((packed.quants.len(), packed.scales.len()), (len.quants, len.scales), "{quant}");
        let padded = cols.next_multiple_of(32);
        let found = run(&device, &queue, *quant, &packed, rows * padded);
        for (i, expected) in expected.iter().enumerate() {
            let (row, col) = (i / cols, i % cols);
            assert_eq!(found[row * padded + col], *expected, "{quant}: row {row}, column {col}");
        }
        for (row, padding) in found.chunks_exact(padded).enumerate() {
            assert!(padding[cols..].iter().all(|w| *w == 0.0), "{quant}: padding of row {row}");
        }
    }
}

/// A device, on the same terms as `gpu::open`.
fn device() -> (wgpu::Device, wgpu::Queue) {
    let required = gpu::required();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()));
    let opened = adapter
        .map_err(|e| e.to_string())
        .and_then(|a| pollster::block_on(a.request_device(&Default::default())).map_err(|e| e.to_string()));
    match opened {
        Ok(opened) => opened,
        Err(error) if required => panic!("GPU_TESTS=require, but {error}"),
        Err(error) => ignore(error),
    }
}

/// Decodes `count` weights on the device.
fn run(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    quant: Quant,
    packed: &parr::quant::Packed,
    count: usize,
) -> Vec<f32> {
    use wgpu::util::DeviceExt;
    let storage = |words: &[u32]| {
        // A buffer of no bytes cannot be bound.
        let words = if words.is_empty() { &[0][..] } else { words };
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(words),
            usage: wgpu::BufferUsages::STORAGE,
        })
    };
    let size = 4 * count as u64;
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let y = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let back = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(quant.name()),
        source: wgpu::ShaderSource::Wgsl(kernel(quant).into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(quant.name()),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let buffers = [y.clone(), storage(&packed.quants), storage(&packed.scales)];
    let entries: Vec<_> = (0..)
        .zip(&buffers)
        .map(|(binding, b)| wgpu::BindGroupEntry { binding, resource: b.as_entire_binding() })
        .collect();
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups((count as u32 / 32).div_ceil(8), 1, 1);
    }
    encoder.copy_buffer_to_buffer(&y, 0, &back, 0, size);
    queue.submit([encoder.finish()]);
    back.map_async(wgpu::MapMode::Read, .., |result| result.expect("the buffer is not mapped yet"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device finishes");
    let view = back.get_mapped_range(..).expect("the buffer is mapped");
    bytemuck::cast_slice(&view).to_vec()
}
