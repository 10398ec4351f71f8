use parr::gpu::{DeviceOptions, KernelFamily, Loads, Recording};
use parr::ops::{Activation, LinearPart, Store, Weight, linear, linear_backward};
use parr::quant::Quant;

use crate::support::gpu;

/// Sixteen rows fill the texture of operands. llvmpipe ends a shader after 65535 rounds of its loops, so products
/// of much wider rows are wrong there.
const WIDE: usize = 131_072;
const ROWS: usize = 19;

/// Small multiples of 1/8, the same in every run.
fn values(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 28) as f32 / 8.0 - 1.0).collect()
}

/// The product of a wide operand, and the gradient of a narrow one, from `loads`.
fn products(loads: Loads) -> [Vec<f32>; 2] {
    let options =
        DeviceOptions { family: Some(KernelFamily::Lane8), loads: Some(loads), ..Default::default() };
    let device = gpu::open(&options);
    let weight = |rows: usize, cols: usize| {
        let values = values(rows * cols);
        let part = LinearPart { quant: Quant::F32, rows, bytes: bytemuck::cast_slice(&values) };
        Weight::upload(&device, "a weight", &[part], cols).expect("16 MiB fit")
    };
    let activation = |width: usize, data: &[f32]| Activation {
        buffer: device.upload("rows", data).expect("10 MiB fit"),
        rows: ROWS,
        width,
        stride: width,
    };
    let wide = activation(WIDE, &values(ROWS * WIDE));
    let narrow = activation(32, &[0.5; ROWS * 32]);
    let run = |weight: &Weight, backward: bool, store: Store| {
        let mut rec = Recording::new(&device);
        let op = if backward { linear_backward } else { linear };
        op(&mut rec, weight, &wide, &narrow, ROWS, store).expect("shapes agree");
        rec.submit().expect("a sound recording");
        device.read(&narrow.buffer, 0, ROWS * 32).expect("a read")
    };
    [run(&weight(32, WIDE), false, Store::Add), run(&weight(WIDE, 32), true, Store::Overwrite)]
}

#[test]
fn an_operand_larger_than_its_texture_is_read_in_runs_of_rows() {
    let _turn = gpu::turn();
    let [from_buffers, from_textures] = [Loads::Buffers, Loads::Textures].map(products);
    assert!(from_buffers == from_textures, "results from buffers and from textures differ");
    for result in from_textures {
        let last = &result[(ROWS - 1) * 32..];
        assert!(last.iter().all(|v| v.is_finite() && *v != 0.5), "the last row was not computed: {last:?}");
    }
}
